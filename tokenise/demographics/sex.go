package demographics

import (
	"strings"

	"tarn/tokenise/reason"
)

// sexCodes is the table sex_codes, without the codes that mean missing.
var sexCodes = loadSexCodes()

func loadSexCodes() map[string]byte {
	codes := map[string]byte{}
	for _, line := range lines(TableSexCodes) {
		letter, code, ok := strings.Cut(line, " ")
		switch {
		case !ok || len(letter) != 1 || !strings.Contains("MFI-", letter):
			bad(TableSexCodes, line)
		case letter != "-":
			codes[code] = letter[0]
		}
	}
	return codes
}

// Sex returns 'M', 'F' or 'I' (indeterminate) from the codes and words of the
// table sex_codes.
//
// In PERSON STATED GENDER CODE of the NHS Data Dictionary 9 is indeterminate
// and X unknown; the older code used 9 for not specified. Because the two
// cannot be told apart, 9 is missing, as are 0, U, X and the words for unknown:
// 0 and sex_unknown. Anything that is not in the table is sex_unknown too;
// nothing given is 0 and no code.
func Sex(raw string) (byte, reason.Code) {
	var memory [32]byte
	text, ok := plain(memory[:0], raw)
	if ok && len(text) == 0 {
		return 0, ""
	}
	if letter := sexCodes[string(text)]; ok && letter != 0 {
		return letter, ""
	}
	return 0, reason.SexUnknown
}
