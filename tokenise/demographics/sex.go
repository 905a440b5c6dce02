package demographics

import (
	"strings"

	"tarn/tokenise/reason"
)

// Sex returns 'M', 'F' or 'I' (indeterminate) from the codes in use: 1, 2, 9
// and X of the NHS Data Dictionary's PERSON STATED GENDER CODE, the older 0, 1,
// 2, 9, the letters M, F, I, U, and the words of FHIR's administrative gender.
//
// In the Data Dictionary 9 is indeterminate and X unknown; the older code used
// 9 for not specified. Because the two cannot be told apart, 9 is missing, as
// are 0, U, X and the words for unknown: 0 and sex_unknown. Anything else is
// sex_unknown too; nothing given is 0 and no code.
func Sex(raw string) (byte, reason.Code) {
	switch strings.ToLower(strings.TrimFunc(raw, blank)) {
	case "":
		return 0, ""
	case "m", "1", "male", "man", "boy":
		return 'M', ""
	case "f", "2", "female", "woman", "girl":
		return 'F', ""
	case "i", "indeterminate", "intersex":
		return 'I', ""
	}
	return 0, reason.SexUnknown
}
