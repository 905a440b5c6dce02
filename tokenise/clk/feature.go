package clk

import (
	"regexp"

	"github.com/go-json-experiment/json"
)

// format says what values of a feature are.
type format int

const (
	formatString format = iota
	formatInteger
	formatDate
	formatEnum
)

// encoding says how tokens become bytes.
type textEncoding int

const (
	encodingUTF8 textEncoding = iota
	encodingASCII
	encodingUTF16
	encodingUTF32
)

// letterCase is what letters a text may have.
type letterCase int

const (
	caseMixed letterCase = iota
	caseUpper
	caseLower
)

// feature is one column of the table and how it is encoded.
type feature struct {
	identifier string
	ignored    bool

	format     format
	encoding   textEncoding
	pattern    *regexp.Regexp // nil where there is none
	letterCase letterCase
	minLength  int // characters
	maxLength  int // characters; -1 is any
	minimum    []byte
	maximum    []byte // in the form of integer; nil is none
	dates      *dateFormat
	values     map[string]bool

	gram       int // n of n-grams, 0 for other comparisons
	positional bool
	numeric    *numeric // nil for other comparisons

	perToken   int // bits of each token, 0 where
	perFeature int // bits are divided among the tokens

	blake              bool
	preventSingularity bool

	sentinel    *string // nil where no value stands for a missing one
	replaceWith string
}

// readFeature reads a featureConfig or an ignoreFeature.
func readFeature(o *object) feature {
	f := feature{maxLength: -1}
	f.identifier, _ = o.text("identifier", true)
	f.ignored = o.boolean("ignored")
	_, _ = o.text("description", false)
	if f.ignored && !o.has("format") && !o.has("hashing") {
		o.close(true)
		return f
	}
	// Of an ignored feature that has these members clkhash checks the form, and
	// then never looks at what they mean.
	o.formOnly = f.ignored
	f.readFormat(o.object("format", true))
	f.readHashing(o.object("hashing", true))
	o.formOnly = false
	o.close(false)
	return f
}

func (f *feature) readFormat(o *object) {
	_, _ = o.text("description", false)
	switch o.oneOf("type", true, "string", "integer", "date", "enum") {
	case "string":
		f.readText(o)
	case "integer":
		f.format = formatInteger
		f.minimum, f.maximum = o.bound("minimum"), o.bound("maximum")
	case "date":
		f.format = formatDate
		if text, ok := o.text("format", true); ok {
			var err error
			if f.dates, err = newDateFormat(text); err != nil {
				o.useless("format", err.Error())
			}
		}
	case "enum":
		f.format = formatEnum
		f.values = map[string]bool{}
		for _, value := range o.list("values") {
			var text string
			if value.Kind() != '"' || json.Unmarshal(value, &text) != nil {
				o.wrong("values", "holds something that is not a text")
			}
			f.values[text] = true
		}
	}
	o.close(true)
}

func (f *feature) readText(o *object) {
	f.encoding = map[string]textEncoding{"ascii": encodingASCII, "utf-16": encodingUTF16, "utf-32": encodingUTF32}[o.oneOf("encoding", false, "utf-8", "ascii", "utf-16", "utf-32")]
	if pattern, ok := o.text("pattern", false); ok {
		var err error
		if f.pattern, err = compilePattern(pattern); err != nil {
			o.useless("pattern", err.Error())
		}
		return // case, minLength and maxLength must not be there as well
	}
	f.letterCase = map[string]letterCase{"upper": caseUpper, "lower": caseLower}[o.oneOf("case", false, "mixed", "upper", "lower")]
	f.minLength, _ = o.count("minLength", false, 0, 1<<53, true)
	if most, ok := o.count("maxLength", false, 1, 1<<53, true); ok {
		f.maxLength = most
	}
}

// bound is an integer of any size.
func (o *object) bound(name string) []byte {
	n, ok := o.integral(name, false)
	if !ok {
		return nil
	}
	return n.integer().Append(nil, 10)
}

func (f *feature) readHashing(o *object) {
	f.readComparison(o.object("comparison", true))
	strategy := o.object("strategy", true)
	perFeature := strategy.has("bitsPerFeature")
	f.perFeature, _ = strategy.count("bitsPerFeature", perFeature, 1, maxBits, true)
	f.perToken, _ = strategy.count("bitsPerToken", !perFeature, 1, maxBits, true)
	if perFeature && strategy.has("bitsPerToken") {
		strategy.fail(strategy.place, "has both bitsPerToken and bitsPerFeature")
	}
	strategy.close(true)
	f.readHash(o)
	if o.has("missingValue") {
		missing := o.object("missingValue", true)
		sentinel, _ := missing.text("sentinel", true)
		replaceWith, ok := missing.text("replaceWith", false)
		if !ok {
			replaceWith = sentinel // which is then hashed like any value
		}
		f.sentinel, f.replaceWith = &sentinel, replaceWith
		missing.close(false)
	}
	o.close(true)
}

func (f *feature) readHash(o *object) {
	f.blake = true
	if !o.has("hash") {
		o.used["hash"] = true
		return
	}
	hash := o.object("hash", true)
	f.blake = hash.oneOf("type", true, "doubleHash", "blakeHash") == "blakeHash"
	if f.blake && string(hash.members["prevent_singularity"]) == "null" {
		hash.used["prevent_singularity"] = true // clkhash looks at it, and null is nothing
	} else if f.preventSingularity = hash.boolean("prevent_singularity"); f.blake && hash.has("prevent_singularity") {
		hash.useless("prevent_singularity", "is of doubleHash only")
	}
	hash.close(false)
}

func (f *feature) readComparison(o *object) {
	switch o.oneOf("type", true, "ngram", "exact", "numeric") {
	case "ngram":
		f.gram, _ = o.count("n", true, 1, maxGram, false)
		f.positional = o.boolean("positional")
	case "numeric":
		threshold, ok := o.number("thresholdDistance", true)
		resolution, okResolution := o.count("resolution", true, 1, maxResolution, false)
		// With more digits no token could be written.
		precision, _ := o.count("fractional_precision", false, 0, maxDigits, false)
		if !ok || !okResolution || o.err != nil {
			break
		}
		if threshold.float <= 0 {
			o.wrong("thresholdDistance", "is not above 0")
			break
		}
		var wrong string
		if f.numeric, wrong = newNumeric(threshold, resolution, precision); wrong != "" {
			o.useless("thresholdDistance", wrong)
		}
	}
	o.close(false)
}
