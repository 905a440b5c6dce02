package demo

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/answers"
	"tarn/bench/load"
	"tarn/keys/fault"
	"tarn/tokenise/online/wire"
)

// What the tokenise service has in the demonstration's folder.
const (
	serviceConfig = "tokeniser.toml"
	serviceTLS    = "tokeniser-tls"
	serviceStore  = "region-store"
	pipeline      = "etl" // who calls
	sentRows      = 1000
)

const serviceText = `# A trial's certificates, and a key holder beside it: this is a demonstration.
production = false
[listen]
address = "127.0.0.1:0"
tls_cert = "` + serviceTLS + `/server.pem"
tls_key = "` + serviceTLS + `/server.key"
client_ca = "` + serviceTLS + `/ca.pem"
[keyholder]
as = "%s"
[[project]]
file = "` + projectFile + `"
clients = ["` + pipeline + `"]
[store]
dir = "` + serviceStore + `"
free_floor = "64MiB"
`

// serve runs the tokenise service of the first region, sends it rows of its table as a
// pipeline would, and holds each cell of the answer to what run made of the same people.
func (d *demo) serve() (detail string, err error) {
	party := d.parties[0]
	if err := d.write(serviceConfig, fmt.Sprintf(serviceText, d.credentials(party))); err != nil {
		return "", err
	}
	if _, err := d.run("tokeniser", "certificates", "--out", serviceTLS, "--client", pipeline); err != nil {
		return "", err
	}
	said, stop, err := d.start(answering, "tokeniser", "serve", "--config", serviceConfig)
	if err != nil {
		return "", err
	}
	defer func() {
		if ended := stop(); err == nil {
			err = ended
		}
	}()
	_, address, _ := strings.Cut(said, answering)
	in := func(name string) string { return filepath.Join(d.Folder, serviceTLS, name) }
	config, err := load.TLS(in("ca.pem"), in(pipeline+".pem"), in(pipeline+".key"))
	if err != nil {
		return "", err
	}
	truth, err := answers.ReadTruth(d.ctx, filepath.Join(d.Folder, party+".parquet"))
	if err != nil {
		return "", err
	}
	header, people, err := load.ReadRows(filepath.Join(d.Folder, input(party)), sentRows)
	if err != nil {
		return "", err
	}
	body, err := load.Body(wire.JSON, header, people)
	if err != nil {
		return "", err
	}
	c := load.NewConn(load.Target{Address: address, Path: "/v1/projects/" + d.project() + "/tokenise", TLS: config}, d.Seed)
	defer c.Close()
	request := &load.Request{Media: wire.JSON.MediaType(), Body: body, Rows: len(people)}
	from := d.Wall()
	id := c.ID()
	a, err := d.answered(c, request, id)
	if err != nil {
		return "", err
	}
	took := d.Wall().Sub(from)
	ids := make([]string, len(people))
	for i := range people {
		ids[i] = people[i][0]
	}
	if err := truth.Wrong(wire.JSON, ids, a.Body); err != nil {
		return "", fault.New(fault.Internal, "comparing what the service answered with the cohort", err.Error(), "")
	}
	left := a.Header.Get("Tarn-Budget-Remaining")
	if again, err := c.Do(request, id, time.Minute); err != nil || again.Status != http.StatusOK || again.Header.Get("Tarn-Budget-Remaining") != left {
		return "", fault.New(fault.Internal, "sending a request again", "it was not answered as before, or was charged again", "")
	}
	d.document.Served = &Served{Rows: int64(len(people)), Equal: true, TookS: took.Seconds()}
	return fmt.Sprintf("%d rows sent over mutual TLS came back in %.1f s as the cohort has them, cell by cell; sent again they were charged once", len(people), took.Seconds()), nil
}

// answered sends a request until it is answered: the service leases its keys first.
func (d *demo) answered(c *load.Conn, r *load.Request, id string) (a load.Answer, err error) {
	const within = 20 * time.Second
	for begun := time.Now(); ; time.Sleep(50 * time.Millisecond) {
		if a, err = c.Do(r, id, within); err == nil && a.Status == http.StatusOK {
			return a, nil
		}
		if time.Since(begun) > within || d.ctx.Err() != nil {
			return a, fault.New(fault.Internal, "sending rows to the tokenise service", fmt.Sprintf("they were not answered in time; the last status was %d", a.Status), "")
		}
	}
}
