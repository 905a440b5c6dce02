package nhsuk_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"tarn/keys/holder/console/nhsuk"
)

// The options of the design system's macros are loosely typed: a text may stand for an
// object with that text, a list for an object with these items, one thing for a list of
// it. options puts them into our structs, and refuses what has no place there.

// notTakenError names the option that our components do not take.
type notTakenError struct{ option string }

func (e notTakenError) Error() string { return "the option " + e.option + " is not taken" }

func decode(raw json.RawMessage, component any) error {
	var options any
	if err := json.Unmarshal(raw, &options); err != nil {
		return err
	}
	return put("", options, reflect.ValueOf(component).Elem())
}

var attributes = reflect.TypeFor[nhsuk.Attributes]()

func put(path string, value any, to reflect.Value) error {
	if value == nil {
		return nil // the macros take it as not given
	}
	if to.Type() == attributes {
		return putAttributes(path, value, to)
	}
	switch to.Kind() {
	case reflect.Pointer:
		to.Set(reflect.New(to.Type().Elem()))
		if value == true && to.Elem().Kind() == reflect.Struct {
			return nil // there is one, of which nothing more is said
		}
		return put(path, value, to.Elem())
	case reflect.Struct:
		return putStruct(path, value, to)
	case reflect.Slice:
		return putList(path, value, to)
	default:
		return putScalar(path, value, to)
	}
}

func putStruct(path string, value any, to reflect.Value) error {
	switch v := value.(type) {
	case string:
		if to.Type() == reflect.TypeFor[nhsuk.Icon]() {
			return put(path, map[string]any{"name": v, "placement": "start"}, to)
		}
		return put(path, map[string]any{"text": v}, to)
	case []any:
		return put(path, map[string]any{"items": v}, to)
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			x := v[name]
			if _, label := fieldOf(to, "isPageHeading"); label && name == "heading" && x == true {
				name = "isPageHeading" // of the first level
			}
			field, ok := fieldOf(to, name)
			if !ok {
				return notTakenError{strings.TrimPrefix(path+"."+name, ".")}
			}
			if err := put(path+"."+name, x, field); err != nil {
				return err
			}
		}
		return nil
	case bool:
		if !v {
			return nil
		}
	}
	return notTakenError{fmt.Sprintf("%s=%v", strings.TrimPrefix(path, "."), value)}
}

func fieldOf(of reflect.Value, name string) (reflect.Value, bool) {
	for i := range of.NumField() {
		if of.Type().Field(i).Tag.Get("json") == name {
			return of.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func putList(path string, value any, to reflect.Value) error {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	for _, x := range list {
		if x == nil || x == false || x == "" {
			continue // the macros leave these out, so that a page may say "if so, this item"
		}
		item := reflect.New(to.Type().Elem()).Elem()
		if err := put(path+"[]", x, item); err != nil {
			return err
		}
		to.Set(reflect.Append(to, item))
	}
	return nil
}

func putScalar(path string, value any, to reflect.Value) error {
	switch v := value.(type) {
	case bool:
		if to.Kind() == reflect.Bool {
			to.SetBool(v)
			return nil
		}
		if to.Type() == reflect.TypeFor[nhsuk.Sort]() && v {
			to.SetString(string(nhsuk.Unsorted))
			return nil
		}
	case float64:
		if to.Kind() == reflect.Int {
			to.SetInt(int64(v))
			return nil
		}
		if to.Kind() == reflect.String {
			to.SetString(strconv.FormatFloat(v, 'f', -1, 64))
			return nil
		}
	case string:
		if to.Kind() == reflect.String {
			to.SetString(v)
			return nil
		}
		if n, err := strconv.Atoi(v); err == nil && to.Kind() == reflect.Int {
			to.SetInt(int64(n))
			return nil
		}
	}
	return notTakenError{fmt.Sprintf("%s=%v", strings.TrimPrefix(path, "."), value)}
}

func putAttributes(path string, value any, to reflect.Value) error {
	of, ok := value.(map[string]any)
	if !ok {
		return notTakenError{fmt.Sprintf("%s=%v", strings.TrimPrefix(path, "."), value)}
	}
	all := nhsuk.Attributes{}
	for name, x := range of {
		switch x.(type) {
		case string, float64, bool:
			all[name] = fmt.Sprint(x)
		default:
			return notTakenError{strings.TrimPrefix(path+"."+name, ".")}
		}
	}
	to.Set(reflect.ValueOf(all))
	return nil
}

// TestOptionsAreDecodedStrictly: a fixture whose option is overlooked would compare two
// pages of which neither has it.
func TestOptionsAreDecodedStrictly(t *testing.T) {
	for _, options := range []string{`{"text": "a", "colou": "b"}`, `{"icon": {"nam": "a"}}`, `{"small": "yes"}`, `{"attributes": {"data-a": []}}`} {
		var b nhsuk.Button
		if err := decode(json.RawMessage(options), &b); err == nil {
			t.Errorf("%s is taken as %+v", options, b)
		}
	}
	var r nhsuk.Radios
	if err := decode(json.RawMessage(`{"hint": "a", "items": [false, {"text": "b"}], "fieldset": {"legend": "c"}}`), &r); err != nil ||
		r.Hint.Text != "a" || len(r.Items) != 1 || r.Fieldset.Legend.Text != "c" {
		t.Errorf("decoded as %+v, %v", r, err)
	}
}
