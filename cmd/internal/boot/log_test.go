package boot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

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
	// Control: a value under an allowed key is found.
	for _, format := range []boot.Format{boot.Text, boot.JSON} {
		got := logged(t, format, func(l *slog.Logger) { l.Info("m", "file", "Quetzalina.csv") })
		if !strings.Contains(got, "Quetzalina.csv") || strings.Contains(got, "dropped") {
			t.Errorf("the search for the planted value is blind: %s", got)
		}
	}
}

func TestLogRedactsWhatNoKeyHolds(t *testing.T) {
	for name, value := range map[string]any{
		"number": planted, "grouped": "943 476 5919", "in a name": "north-" + planted, "whole": 9434765919, "unsigned": uint64(9434765919), "fraction": 9434765919.0,
		"own type": code(planted), "two lines": "a\nb", "structure": carrier{"a"}, "bytes": []byte("a"), "texts": []string{"a"},
		"error": fault.New(fault.Usage, "reading "+planted, "", ""),
	} {
		for _, key := range []string{"file", "row", "error", "project"} {
			got := logged(t, boot.JSON, func(l *slog.Logger) { l.Info("m", key, value) })
			if !strings.Contains(got, `"`+key+`":"[redacted]","dropped":1}`) {
				t.Errorf("%s under %s: %s", name, key, got)
			}
		}
	}
	// Control: what they are for.
	for key, value := range map[string]any{"bytes": 9434765919, "row": 1234567, "file": "a/b.csv", "duration": time.Duration(9434765919), "request": "6b3a55e0-26a5-4c2f-9d0f-9434765919aa"} {
		if got := logged(t, boot.JSON, func(l *slog.Logger) { l.Info("m", key, value) }); strings.Contains(got, "redacted") {
			t.Errorf("%s: %s", key, got)
		}
	}
}

// TestNoShapeOfAttributeLeaks builds attributes of any shape around a value.
func TestNoShapeOfAttributeLeaks(t *testing.T) {
	keys := rapid.SampledFrom([]string{"file", "project", "stage", "rows", "error", "nhs_number", "name", planted})
	var attribute func(*rapid.T, int) slog.Attr
	attribute = func(t *rapid.T, depth int) slog.Attr {
		key := keys.Draw(t, "key")
		switch kind := rapid.IntRange(0, 9).Draw(t, "kind"); {
		case kind == 0 && depth > 0, kind == 1 && depth > 0:
			return slog.Group(key, attribute(t, depth-1), attribute(t, depth-1))
		case kind == 2:
			return slog.Any(key, valuer{})
		case kind == 3:
			return slog.Any(key, map[string]any{planted: []any{planted}})
		case kind == 4:
			return slog.Any(key, fmt.Errorf("row %s: %w", planted, errors.New(planted)))
		case kind == 5:
			return slog.Int(key, 9434765919)
		case kind == 6:
			return slog.Any(key, carrier{planted})
		case kind == 7:
			return slog.Any(key, any(&carrier{planted}))
		case kind == 8:
			return slog.Any(key, json.Number(planted))
		}
		return slog.String(key, planted)
	}
	rapid.Check(t, func(rt *rapid.T) {
		var out bytes.Buffer
		logger, err := boot.NewLogger(&out, rapid.SampledFrom([]boot.Format{boot.Text, boot.JSON}).Draw(rt, "format"), slog.LevelInfo)
		if err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(0, 3).Draw(rt, "layers") {
			if rapid.Bool().Draw(rt, "group") {
				logger = logger.WithGroup(keys.Draw(rt, "name"))
			} else {
				logger = logger.With(attribute(rt, 2))
			}
		}
		logger.Info("m", attribute(rt, 3), attribute(rt, 3))
		if text := out.String(); strings.Contains(text, planted) || strings.Contains(text, "943476") || text == "" {
			rt.Fatalf("the line is %q", text)
		}
	})
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
