package encoding

import (
	_ "embed"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tarn/keys/fault"
)

//go:embed febrl.schema.json
var febrlSchema []byte

// febrlTable is synthetic people in the columns of the FEBRL data sets, whose
// own people are not shipped.
type febrlTable struct {
	rows                             [][]string
	schemaPath, peerPath, secretPath string
}

var (
	febrlHeader = []string{"rec_id", "given_name", "surname", "street_number", "address_1", "address_2", "suburb", "postcode", "state", "date_of_birth", "soc_sec_id"}
	syllables   = strings.Fields("bar bel cor dan el fair gan hill ing ken lan mor nar o pin quin ros stan tam um ver wes yar")
	roads       = strings.Fields("street road avenue crescent place close circuit drive")
	states      = strings.Fields("nsw vic qld sa wa tas act nt")
)

// makeFEBRL makes rows whose names are those of the people and whose addresses
// are made up, and writes schema, secret and the peer's part of them.
func makeFEBRL(folder string, people *rawTable, rows int) (*febrlTable, error) {
	random := rand.New(rand.NewPCG(seed, 0))
	word := func() string {
		text := ""
		for range 2 + random.IntN(2) {
			text += syllables[random.IntN(len(syllables))]
		}
		return text
	}
	t := &febrlTable{}
	for i := range rows {
		p := people.row(i%people.len(), nil)
		second := ""
		if random.IntN(3) == 0 {
			second = word() + " " + word()
		}
		t.rows = append(t.rows, []string{
			"rec-" + strconv.Itoa(i), strings.ToLower(p[people.columns["given_name"]]), strings.ToLower(p[people.columns["family_name"]]), strconv.Itoa(1 + random.IntN(400)),
			word() + " " + roads[random.IntN(len(roads))], second, word(), fmt.Sprintf("%04d", 200+random.IntN(9700)), states[random.IntN(len(states))],
			fmt.Sprintf("%04d%02d%02d", 1920+random.IntN(100), 1+random.IntN(12), 1+random.IntN(28)), strconv.Itoa(1000000 + random.IntN(9000000)),
		})
	}
	t.schemaPath, t.peerPath, t.secretPath = filepath.Join(folder, "febrl.schema.json"), filepath.Join(folder, "febrl.csv"), filepath.Join(folder, "febrl.secret")
	var text strings.Builder
	w := csv.NewWriter(&text)
	if err := w.WriteAll(append([][]string{febrlHeader}, t.rows...)); err != nil {
		return nil, fault.Wrap(fault.Internal, "making a table in the columns of FEBRL", err, "")
	}
	for path, content := range map[string][]byte{t.schemaPath: febrlSchema, t.peerPath: []byte(text.String()), t.secretPath: []byte("secret\n")} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			return nil, fault.Wrap(fault.Internal, "writing "+path, err, "choose a folder that can be written")
		}
	}
	return t, nil
}
