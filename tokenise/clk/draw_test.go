package clk

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"pgregory.net/rapid"
)

// Linkage schemas and records at random, among them what hardly anybody would
// write: both sides must take it alike, or refuse it alike.

type members = map[string]any

// some returns one of the choices.
func some[T any](t *rapid.T, choices ...T) T { return rapid.SampledFrom(choices).Draw(t, "one of") }

// rarely is true in one case of 2^n. Made of bits, because rapid draws the
// bounds of a range more often than what lies between.
func rarely(t *rapid.T, n int) bool {
	for range n {
		if !rapid.Bool().Draw(t, "rarely") {
			return false
		}
	}
	return true
}

// drawn is a schema, and for each of its features what draws its values.
type drawn struct {
	schema    members
	values    []*rapid.Generator[string]
	sentinels []string
}

func drawSchema(t *rapid.T, formats []string) drawn {
	config := members{"l": drawLength(t), "kdf": drawKDF(t)}
	if rarely(t, 2) {
		config["xor_folds"] = rapid.IntRange(0, 3).Draw(t, "folds")
	}
	if rarely(t, 4) {
		config["xorFolds"] = 1 // documented, and read over
	}
	d := drawn{}
	var features []any
	for i := range rapid.IntRange(1, 3).Draw(t, "features") {
		name := fmt.Sprintf("feature %d", i)
		if rarely(t, 3) {
			features = append(features, members{"identifier": name, "ignored": true})
			d.values, d.sentinels = append(d.values, rapid.Just("ignored")), append(d.sentinels, "")
			continue
		}
		feature, values, sentinel := drawFeature(t, some(t, formats...))
		feature["identifier"] = name
		features = append(features, feature)
		d.values, d.sentinels = append(d.values, values), append(d.sentinels, sentinel)
	}
	d.schema = members{"version": 3, "clkConfig": config, "features": features}
	return d
}

// drawLength leaves out 1, with which prevent_singularity of clkhash never
// ends.
func drawLength(t *rapid.T) int {
	if rarely(t, 3) {
		return rapid.IntRange(2, 1100).Draw(t, "length")
	}
	return some(t, 1024, 512, 2048, 64, 256, 8, 2)
}

func drawKDF(t *rapid.T) members {
	kdf := members{"type": "HKDF"}
	if hash := some(t, "", "SHA256", "SHA512"); hash != "" {
		kdf["hash"] = hash
	}
	if size := some(t, 64, 0, 32, 16, 1, 63, 64, 65); size > 0 {
		kdf["keySize"] = size
	}
	for _, name := range []string{"salt", "info"} {
		if rarely(t, 1) {
			kdf[name] = drawBase64(t)
		}
	}
	return kdf
}

func drawBase64(t *rapid.T) string {
	text := base64.StdEncoding.EncodeToString(rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "bytes"))
	if !rarely(t, 3) {
		return text
	}
	switch some(t, 1, 2, 3) {
	case 1: // characters that do not belong there
		at := rapid.IntRange(0, len(text)).Draw(t, "at")
		text = text[:at] + some(t, "\n", " ", "-", "_", "=", "é") + text[at:]
	case 2:
		text = text[:rapid.IntRange(0, len(text)).Draw(t, "cut")]
	case 3:
		text += some(t, "====", "QQ==", "Q")
	}
	return text
}

func drawFeature(t *rapid.T, format string) (feature members, values *rapid.Generator[string], sentinel string) {
	form := members{"type": format}
	values = plainValues
	switch format {
	case "string":
		values = drawText(t, form)
	case "integer":
		for _, bound := range []string{"minimum", "maximum"} {
			if rarely(t, 3) {
				form[bound] = some[any](t, 0, 10, -3, 1900, json.RawMessage("2.0"), json.RawMessage("1e3"), json.RawMessage("123456789012345678901234567890"))
			}
		}
		values = rapid.OneOf(wholeValues, wholeValues, wholeValues, wildNumbers)
	case "date":
		form["format"] = drawDateFormat(t)
		values = dateValues(form["format"].(string))
	case "enum":
		list := []string{"F", "Mé", "unknown", "", "b c"}[:rapid.IntRange(0, 5).Draw(t, "values")]
		form["values"] = list
		if len(list) > 0 {
			values = rapid.OneOf(rapid.SampledFrom(list), rapid.SampledFrom(list), rapid.SampledFrom(list), rapid.SampledFrom(list), plainValues)
		}
	}
	hashing := drawHashing(t)
	if hashing["comparison"].(members)["type"] == "numeric" && format == "string" {
		values = rapid.OneOf(numberValues, numberValues, wildNumbers, values)
	}
	if rarely(t, 2) {
		sentinel = some(t, "", "none", "NA", "0", "-")
		missing := members{"sentinel": sentinel}
		if rarely(t, 1) {
			missing["replaceWith"] = some(t, "", "x", "19000101", "7", "Ωmega")
		}
		hashing["missingValue"] = missing
		values = rapid.OneOf(values, values, rapid.Just(sentinel))
	}
	feature = members{"format": form, "hashing": hashing}
	if rarely(t, 3) {
		feature["description"] = "of nobody"
		form["description"] = "of nothing"
	}
	if rarely(t, 4) {
		feature["ignored"] = rapid.Bool().Draw(t, "ignored")
	}
	return feature, values, sentinel
}

func drawText(t *rapid.T, form members) *rapid.Generator[string] {
	if encoding := some(t, "", "utf-8", "ascii", "utf-16", "utf-32"); encoding != "" {
		form["encoding"] = encoding
	}
	if rarely(t, 3) {
		form["pattern"] = some(t, `.*`, `\w+`, `[a-z]*`, `\d{4}|\D*`, `(?:a|b)+`, `[^\s,]+`, `.{0,3}`, `\w+\s?\w*`, `[A-Z]\S*$`, `a{,3}.*`, `[`, `(?=a)a`)
		return plainValues
	}
	switch letters := some(t, "", "mixed", "lower", "upper"); letters {
	case "":
	default:
		form["case"] = letters
	}
	if rarely(t, 2) {
		form["minLength"] = rapid.IntRange(0, 4).Draw(t, "least")
	}
	if rarely(t, 2) {
		form["maxLength"] = some[any](t, 8, 3, 0, 1, json.RawMessage("5.0"))
	}
	switch form["case"] {
	case "lower":
		return rapid.Map(plainValues, strings.ToLower)
	case "upper":
		return rapid.Map(plainValues, strings.ToUpper)
	}
	return plainValues
}

func drawHashing(t *rapid.T) members {
	hashing := members{"strategy": drawStrategy(t)}
	switch some(t, "ngram", "ngram", "exact", "numeric") {
	case "ngram":
		comparison := members{"type": "ngram", "n": some(t, 2, 1, 3, 4, 9)}
		if rarely(t, 1) {
			comparison["positional"] = rapid.Bool().Draw(t, "positional")
		}
		hashing["comparison"] = comparison
	case "exact":
		hashing["comparison"] = members{"type": "exact"}
	default:
		comparison := members{"type": "numeric", "thresholdDistance": some[any](t, 2, 1, 10, 0.5, 0.25, 0.1, 1e-3, 1.5, 7, 2.5, json.RawMessage("1e20"), json.RawMessage("20000000000000000000003")), "resolution": some(t, 3, 1, 2, 10, 40)}
		if rarely(t, 1) {
			comparison["fractional_precision"] = some(t, 1, 0, 2, 5, 17)
		}
		if rarely(t, 4) {
			comparison["fractionalPrecision"] = 3 // documented, and read over
		}
		hashing["comparison"] = comparison
	}
	switch some(t, "doubleHash", "singular", "blakeHash", "") {
	case "doubleHash":
		hashing["hash"] = members{"type": "doubleHash"}
	case "blakeHash":
		hashing["hash"] = members{"type": "blakeHash"}
		if rarely(t, 4) {
			hashing["hash"] = members{"type": "blakeHash", "prevent_singularity": some[any](t, nil, true, false)}
		}
	case "singular":
		hashing["hash"] = members{"type": "doubleHash", "prevent_singularity": rapid.Bool().Draw(t, "prevent")}
	}
	return hashing
}

func drawStrategy(t *rapid.T) members {
	name := some(t, "bitsPerToken", "bitsPerFeature")
	switch {
	case rarely(t, 3):
		return members{name: some[any](t, 1, 2, json.RawMessage("12.0"), json.RawMessage("3e1"))}
	case rarely(t, 2):
		return members{name: rapid.IntRange(1, 700).Draw(t, "bits")}
	case rarely(t, 5):
		return members{name: 0}
	}
	return members{name: rapid.IntRange(5, 60).Draw(t, "bits")}
}

// plainValues are of the kind of names, and worse: marks that combine, letters
// whose case changes their number, letters of several units in UTF-16, spaces
// of many kinds, controls. All are of Unicode 14, the one of Python 3.11.
var plainValues = rapid.Custom(func(t *rapid.T) string {
	switch some(t, 0, 0, 1, 2, 3) {
	case 0:
		return some(t, "anne", "smith", "O'Brien", "Zoë", "Zoe\u0308", "MÜLLER", "d'Arcy-Jones", "", "a", "  two  words ", "李小龍", "محمد", "ΟΔΥΣΣΕΥΣ", "οδυσσευς", "straße", "İstanbul", "ıq", "ŉ", "ǰ", "ﬁn", "ǅ", "ǆ",
			"𝒜lgebra", "👩‍👩‍👧", "\u00a0", "\u2003x", "\ufeff", "\ufeffbom", "a\tb", "a\nb", "\r\n", "\x00", "\x1c", "\u200b", "\uffff", "\U0010ffff", "ᾳ", "ᾼ", "Ⅷ", "ⓐ", "ß", "ẞ", "ѕ", "꙳", "Ꭰ", "ꭰ", "ა", "Ა")
	case 1:
		return rapid.StringMatching(`[a-z]{0,12}`).Draw(t, "letters")
	case 2:
		return rapid.StringOfN(rapid.SampledFrom([]rune("abc xyzÄöñçŁžΣςσЖя漢字かなאبท\u0301\u0327\u1e9e𐐀𐐨𝔘😀-'.,0123")), 0, 14, -1).Draw(t, "text")
	}
	return strings.Repeat(rapid.StringMatching(`[a-zA-Zé ]{1,9}`).Draw(t, "letters"), rapid.IntRange(1, 30).Draw(t, "times"))
})

var wholeValues = rapid.OneOf(rapid.Map(rapid.IntRange(-10, 3000), strconv.Itoa), rapid.SampledFrom([]string{"2", "12", "007", "+7", "1950", " 5"}))

var numberValues = rapid.Custom(func(t *rapid.T) string {
	n := rapid.IntRange(-30, 3000).Draw(t, "number")
	switch some(t, 0, 0, 1, 2) {
	case 1:
		return fmt.Sprintf("%d.%d", n, rapid.IntRange(0, 999).Draw(t, "fraction"))
	case 2:
		return fmt.Sprintf("%05d", n)
	}
	return fmt.Sprint(n)
})

// wildNumbers are what Python's int and float take and what they do not.
var wildNumbers = rapid.SampledFrom([]string{
	"", " ", "+7", "-0", "- 7", "007", "1_000", "1__0", "_1", "1_", "+_1", " 12 ", "\t12\n", "\u00a012\u2003", "１２", "٣٤", "१२.५", "𝟙𝟚", "1e3", "1E-3", "1e", "e1", ".5", "5.", ".", "+.5e+1", "1_0.0_1", "1._0", "1_e1",
	"0x10", "0b1", "inf", "-Infinity", "nan", "1e308", "1e309", "-1e400", "1e-400", "0.1", "2.675", "0.5", "1.5", "2.5", "9007199254740993", "9007199254740993.0", "123456789012345678901234567890", "-123456789012345678901234567890.5",
	"Ⅷ", "²", "1,5", "1 2", "--1", "+-1", "\x1c5\x1f", "0.30000000000000004", "4.35", "1.005", "4503599627370497.5", "\u200b1", strings.Repeat("9", 4300), strings.Repeat("9", 4301), strings.Repeat("0", 4301),
})

// dateDirectiveTexts are texts for each directive, not all of them right.
var dateDirectiveTexts = map[byte][]string{
	'Y': {"1973", "2000", "1900", "2024", "0001", "0999", "9999", "0000", "73", "١٩٧٣"}, 'y': {"00", "68", "69", "99", "7"}, 'm': {"01", "1", "12", "02", "00", "13", "٠٣"}, 'd': {"01", "1", "31", "29", " 1", "30", "00", "32", "٠٧"},
	'H': {"00", "23", "24", "7"}, 'M': {"00", "59", "60", "5"}, 'S': {"00", "59", "60", "61", "62", "9"}, 'f': {"0", "123456", "1234567", ""}, 'I': {"12", "01", "0", "13"}, 'p': {"am", "PM", "pM", "a", ""},
	'j': {"001", "1", "60", "365", "366", "367", "000"}, 'U': {"00", "01", "1", "52", "53", "54"}, 'W': {"00", "01", "1", "52", "53", "54"}, 'w': {"0", "6", "7"}, 'u': {"1", "7", "0"}, 'V': {"01", "1", "52", "53", "00", "0"}, 'G': {"1973", "2000", "0001", "9999", "0000"},
	'A': {"Monday", "sunday", "SUNDAY", "Mon", "Funday"}, 'a': {"Mon", "SUN", "tue", "Monday", "x"}, 'B': {"January", "may", "AUGUST", "Auguſt", "Jan"}, 'b': {"Jan", "MAY", "sep", "Sept", "x"},
	'z': {"Z", "+0000", "-01:00", "+01:30:45", "+013045.5", "+0130:45", "+01:3045", "+2400", "+9", "z", ""}, '%': {"%", ""},
	'c': {"Mon Jan  1 00:00:00 1973", "Mon Jan 01 00:00:00 1973", "Jan 1"}, 'x': {"10/22/73", "22/10/73"}, 'X': {"12:30:59", "12.30"},
}

func drawDateFormat(t *rapid.T) string {
	if rarely(t, 1) {
		return some(t, "%Y-%m-%d", "%d/%m/%Y", "%Y%m%d", "%d %b %Y", "%B %d, %Y", "%d%m%y", "%d.%m.%y", "%m/%d/%y", "%Y-%m-%dT%H:%M:%S%z", "%d %B  %Y", "%G-W%V-%u", "%Y %j", "%Y %U %w", "%Y %W %a", "%d%m", "%m", "%Y %H", "%c", "%x", "%I %p", "%d ı %m", "%Y.%m", "[%Y]", "%Y%%", "%Q", "%", "%Y-%Y", "")
	}
	b := strings.Builder{}
	for range rapid.IntRange(1, 4).Draw(t, "directives") {
		b.WriteString("%" + some(t, "Y", "m", "d", "y", "H", "M", "S", "f", "I", "p", "j", "U", "W", "w", "u", "V", "G", "A", "a", "B", "b", "z", "%"))
		b.WriteString(some(t, "-", "/", "", " ", ".", "  ", "i", "k"))
	}
	return b.String()
}

// dateValues are texts that a format may fit.
func dateValues(format string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		if rarely(t, 3) {
			return some(t, "", "x", "1973-10-22", "22/10/1973", "19731022")
		}
		wrong := rarely(t, 2) // else the first texts, which are right
		var b strings.Builder
		for i := 0; i < len(format); i++ {
			texts := dateDirectiveTexts[0]
			if format[i] == '%' && i+1 < len(format) {
				i++
				texts = dateDirectiveTexts[format[i]]
			}
			switch {
			case texts == nil && format[i] == ' ':
				b.WriteString(some(t, " ", " ", "  ", "\t", "\u00a0"))
			case texts == nil && format[i] == 'i':
				b.WriteString(some(t, "i", "I", "ı", "İ"))
			case texts == nil && format[i] == 'k':
				b.WriteString(some(t, "k", "K", "\u212a"))
			case texts == nil:
				b.WriteByte(format[i])
			case wrong:
				b.WriteString(some(t, texts...))
			default:
				b.WriteString(some(t, texts[:min(len(texts), 4)]...))
			}
		}
		return b.String()
	})
}
