package boot

import (
	"context"
	"io"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode"

	"github.com/spf13/pflag"

	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
)

// allowedKeys are the only attribute keys a log line may carry. An identifier
// cannot reach a log under a key that is not here, and none of these is meant
// to hold one. Adding a key is a decision about confidentiality: say what it
// holds.
var allowedKeys = map[string]string{
	"address":        "a listener's or service's address, never a person's",
	"attempt":        "number of a retry",
	"bytes":          "a size",
	"client":         "name of a client certificate",
	"code":           "a stable reason code",
	"cohort_id":      "identity of an encoded cohort",
	"column":         "name of a column",
	"count":          "a number of things",
	"doing":          "constant text: the step",
	"domain":         "a token domain's name",
	"duration":       "a time span",
	"encoding_epoch": "a project's key epoch",
	"error":          "an error, by the rules of Describe",
	"field":          "a canonical field's name",
	"file":           "a path",
	"format":         "name of a file format",
	"kind":           "a fault kind or document kind",
	"method":         "an HTTP method or linkage method",
	"outcome":        "constant text: how it ended",
	"party":          "a source dataset's name",
	"profile":        "an encoding profile's name",
	"project":        "a project's name",
	"reason":         "constant text, never what a person typed",
	"request":        "a request's random id",
	"route":          "an HTTP route's pattern, without its parameters",
	"row":            "a row number",
	"rows":           "a number of rows",
	"run_id":         "a linkage run's digest",
	"signal":         "name of a signal",
	"stage":          "name of a stage of a job",
	"status":         "an HTTP status",
	"threads":        "a number of threads",
	"token_epoch":    "a domain's key epoch",
	"version":        "a software or format version",
}

// Format is how log lines are written.
type Format string

// The formats of log lines.
const (
	Text Format = "text" // key=value
	JSON Format = "json" // one object a line
)

// NewLogger returns a logger that writes to w in the format, at the level and
// above. It drops every attribute whose key is not on the list of allowed keys,
// since a key may be a value, too; under a key of the list it writes "[redacted]"
// for a value that is not of a plain kind (a number, truth value, time, duration,
// text, or an error by the rules of Describe) or, in a text, holds what no name,
// code, path or constant has: a control character, or an NHS number. The
// attribute "dropped" counts both. The message of a line is a constant: a test
// holds the whole source to that. An unknown format is a fault of kind Usage.
func NewLogger(w io.Writer, format Format, level slog.Level) (*slog.Logger, error) {
	options := newLogOptions()
	if err := options.setFormat(string(format)); err != nil {
		return nil, err
	}
	options.level.Set(level)
	return slog.New(newSwitchHandler(w, options)), nil
}

// logOptions are set by flags after the logger exists.
type logOptions struct {
	level *slog.LevelVar
	json  atomic.Bool
}

func newLogOptions() *logOptions {
	o := &logOptions{level: new(slog.LevelVar)}
	o.level.Set(slog.LevelWarn)
	return o
}

func (o *logOptions) setFormat(name string) error {
	switch Format(name) {
	case Text:
		o.json.Store(false)
	case JSON:
		o.json.Store(true)
	default:
		return fault.New(fault.Usage, "setting the log's format", "it is neither text nor json", "")
	}
	return nil
}

func (o *logOptions) setLevel(name string) error {
	var level slog.Level
	if err := level.UnmarshalText([]byte(name)); err != nil {
		return fault.New(fault.Usage, "setting the log's level", "it is none of debug, info, warn, error", "")
	}
	o.level.Set(level)
	return nil
}

func addLogFlags(flags *pflag.FlagSet, options *logOptions) {
	flags.Var(&choice{"warn", "level", options.setLevel}, "log-level", "write log lines of this level and above: debug, info, warn or error")
	flags.Var(&choice{"text", "format", options.setFormat}, "log-format", "write log lines as text or json")
}

// choice is a flag whose setting is handed on at once.
type choice struct {
	text string
	kind string
	set  func(string) error
}

func (c *choice) String() string { return c.text }
func (c *choice) Type() string   { return c.kind }
func (c *choice) Set(text string) error {
	if err := c.set(text); err != nil {
		return err
	}
	c.text = text
	return nil
}

// switchHandler writes in the format that is set when a line is written, and
// only what is allowed.
type switchHandler struct {
	options    *logOptions
	text, json slog.Handler
	dropped    int // attributes of With that were not kept
}

func newSwitchHandler(w io.Writer, options *logOptions) slog.Handler {
	to := &slog.HandlerOptions{Level: options.level}
	return &switchHandler{options: options, text: slog.NewTextHandler(w, to), json: slog.NewJSONHandler(w, to)}
}

func (h *switchHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.options.level.Level()
}

func (h *switchHandler) Handle(ctx context.Context, record slog.Record) error {
	clean := slog.NewRecord(record.Time, record.Level, record.Message, record.PC)
	dropped := h.dropped
	record.Attrs(func(a slog.Attr) bool {
		kept, lost := allow(a)
		clean.AddAttrs(kept...)
		dropped += lost
		return true
	})
	if dropped > 0 {
		clean.AddAttrs(slog.Int("dropped", dropped))
	}
	if h.options.json.Load() {
		return h.json.Handle(ctx, clean)
	}
	return h.text.Handle(ctx, clean)
}

func (h *switchHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	var kept []slog.Attr
	for _, a := range attrs {
		k, lost := allow(a)
		kept = append(kept, k...)
		next.dropped += lost
	}
	next.text, next.json = h.text.WithAttrs(kept), h.json.WithAttrs(kept)
	return &next
}

// WithGroup ignores a group whose name is not allowed: its attributes stand
// without the prefix, and are still judged by their own keys.
func (h *switchHandler) WithGroup(name string) slog.Handler {
	if _, ok := allowedKeys[name]; !ok {
		return h
	}
	next := *h
	next.text, next.json = h.text.WithGroup(name), h.json.WithGroup(name)
	return &next
}

const redacted = "[redacted]"

// allow returns what of an attribute may be written, and how many leaves were
// dropped or redacted.
func allow(a slog.Attr) (kept []slog.Attr, dropped int) {
	value := a.Value.Resolve()
	if value.Kind() == slog.KindGroup {
		var members []slog.Attr
		for _, member := range value.Group() {
			k, lost := allow(member)
			members = append(members, k...)
			dropped += lost
		}
		if _, ok := allowedKeys[a.Key]; !ok || len(members) == 0 {
			return members, dropped
		}
		return []slog.Attr{{Key: a.Key, Value: slog.GroupValue(members...)}}, dropped
	}
	if _, ok := allowedKeys[a.Key]; !ok {
		return nil, 1
	}
	plain, ok := plainValue(value)
	if !ok || suspicious(a.Key, plain) {
		return []slog.Attr{slog.String(a.Key, redacted)}, 1
	}
	return []slog.Attr{{Key: a.Key, Value: plain}}, 0
}

// byChance are the allowed keys whose values look like an NHS number now and then
// by chance: sizes, and random or hashed ids.
var byChance = map[string]bool{"bytes": true, "cohort_id": true, "request": true, "run_id": true}

// suspicious reports whether a plain value is what no allowed key is meant to
// hold. It is a second net, not the list: of names it knows nothing.
func suspicious(key string, v slog.Value) bool {
	text := ""
	switch v.Kind() {
	case slog.KindString, slog.KindInt64, slog.KindUint64:
		text = v.String()
	case slog.KindFloat64:
		text = strconv.FormatFloat(v.Float64(), 'f', 0, 64)
	}
	return strings.ContainsFunc(text, unicode.IsControl) || !byChance[key] && nhsnumber.In(text)
}

// plainValue returns a value that a handler prints without calling anything
// of its type. A structure, slice or map could hold anything and is refused.
func plainValue(v slog.Value) (slog.Value, bool) {
	if v.Kind() != slog.KindAny {
		return v, true
	}
	switch x := v.Any().(type) {
	case nil:
		return slog.StringValue("none"), true
	case error:
		return slog.StringValue(Describe(x)), true
	}
	// A named type of a plain kind is read without its methods.
	switch r := reflect.ValueOf(v.Any()); r.Kind() {
	case reflect.String:
		return slog.StringValue(r.String()), true
	case reflect.Bool:
		return slog.BoolValue(r.Bool()), true
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return slog.Int64Value(r.Int()), true
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return slog.Uint64Value(r.Uint()), true
	case reflect.Float32, reflect.Float64:
		return slog.Float64Value(r.Float()), true
	}
	return slog.Value{}, false
}
