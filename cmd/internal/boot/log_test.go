package boot_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

type code string

func (code) String() string { return planted }

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.GroupValue(slog.String("nhs_number", planted)) }

func logged(t *testing.T, format boot.Format, line func(*slog.Logger)) string {
	t.Helper()
	var out bytes.Buffer
	logger, err := boot.NewLogger(&out, format, slog.LevelInfo)
	if err != nil {
		t.Fatal(err)
	}
	line(logger)
	return out.String()
}

// TestLogDropsWhatIsNotAllowed plants a value in every place an attribute can
// have one.
func TestLogDropsWhatIsNotAllowed(t *testing.T) {
	lines := map[string]func(*slog.Logger){
		"key":                   func(l *slog.Logger) { l.Info("m", "nhs_number", planted) },
		"bytes":                 func(l *slog.Logger) { l.Info("m", "raw", []byte(planted)) },
		"key in a group":        func(l *slog.Logger) { l.Info("m", slog.Group("stage", "name", planted)) },
		"group key":             func(l *slog.Logger) { l.Info("m", slog.Group("patient", "name", planted)) },
		"nested groups":         func(l *slog.Logger) { l.Info("m", slog.Group("a", slog.Group("b", "name", planted))) },
		"opened group":          func(l *slog.Logger) { l.WithGroup(planted).Info("m", "rows", 1, "x", 1) },
		"key of With":           func(l *slog.Logger) { l.With("name", planted).Info("m") },
		"With in an open group": func(l *slog.Logger) { l.WithGroup("stage").With("name", planted).Info("m") },
		"key itself":            func(l *slog.Logger) { l.Info("m", planted, 1) },
		"valuer":                func(l *slog.Logger) { l.Info("m", "field", valuer{}) },
		"structure":             func(l *slog.Logger) { l.Info("m", "field", carrier{planted}) },
		"pointer":               func(l *slog.Logger) { l.Info("m", "field", &carrier{planted}) },
		"slice":                 func(l *slog.Logger) { l.Info("m", "field", []string{planted}) },
		"map":                   func(l *slog.Logger) { l.Info("m", "field", map[string]string{planted: planted}) },
		"secret":                func(l *slog.Logger) { l.Info("m", "field", []secret.Key{{}}) },
		"odd argument":          func(l *slog.Logger) { l.Info("m", []any{planted}...) },
	}
	for name, line := range lines {
		for _, format := range []boot.Format{boot.Text, boot.JSON} {
			t.Run(name+" "+string(format), func(t *testing.T) {
				got := logged(t, format, line)
				if strings.Contains(got, planted) || strings.Contains(got, "nhs_number") {
					t.Errorf("the planted value is in %s", got)
				}
				if !strings.Contains(got, "dropped") {
					t.Errorf("the line does not say that something was dropped: %s", got)
				}
			})
		}
	}
	// Control: the same value under an allowed key is found.
	for _, format := range []boot.Format{boot.Text, boot.JSON} {
		got := logged(t, format, func(l *slog.Logger) { l.Info("m", "file", planted) })
		if !strings.Contains(got, planted) || strings.Contains(got, "dropped") {
			t.Errorf("the search for the planted value is blind: %s", got)
		}
	}
}

func TestLogOfErrorsFollowsDescribe(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{fault.New(fault.Usage, "reading a.csv", "it has no header", ""), "reading a.csv: it has no header"},
		{errors.New(planted), "withheld"},
		{fmt.Errorf("row %s: %w", planted, errors.New(planted)), "withheld"},
		{fmt.Errorf("row %s: %w", planted, fault.New(fault.Usage, "a", "b", "")), "a: b"},
	}
	for _, tt := range tests {
		got := logged(t, boot.Text, func(l *slog.Logger) { l.Error("failed", "error", tt.err) })
		if !strings.Contains(got, tt.want) || strings.Contains(got, planted) {
			t.Errorf("%T: line %s, want %q in it", tt.err, got, tt.want)
		}
	}
}

func TestLogKeepsPlainValues(t *testing.T) {
	got := logged(t, boot.JSON, func(l *slog.Logger) {
		l.With("project", "p").WithGroup("stage").Info("done",
			"rows", 7, "duration", 2*time.Second, "code", code("row_malformed"), "status", uint16(200),
			slog.Group("field", "count", int8(3)), "error", nil)
	})
	want := `"msg":"done","project":"p","stage":{"rows":7,"duration":2000000000,"code":"row_malformed","status":200,"field":{"count":3},"error":"none"}}` + "\n"
	if _, after, _ := strings.Cut(got, `"level":"INFO",`); after != want {
		t.Errorf("got  %swant %s", after, want)
	}
	if got := logged(t, boot.JSON, func(l *slog.Logger) { l.Debug("m") }); got != "" {
		t.Errorf("a line below the level: %s", got)
	}
}

func TestLogRefusesAnUnknownFormat(t *testing.T) {
	if _, err := boot.NewLogger(&bytes.Buffer{}, "xml", slog.LevelInfo); fault.KindOf(err) != fault.Usage {
		t.Errorf("got %v, want a fault of usage", err)
	}
}
