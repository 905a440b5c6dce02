package faults

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tarn/bench/keyholder"
	"tarn/bench/leak"
	"tarn/bench/load"
	"tarn/bench/tokeniser"
	"tarn/tokenise/online/wire"
)

// leakedFromService is scenario 12 for the tokenise service: people come as rows that are
// answered, refused and wrong, and wherever a caller could put them by mistake; in requests
// that end in the middle, that take too long, and during which the service is killed.
func leakedFromService(t *Trial) error {
	people := leak.People(strangers, 12)
	scanner := leak.NewScanner(people)
	folder, err := t.sub("service-site")
	if err != nil {
		return err
	}
	k, err := t.keyHolder(keyholder.Options{Folder: folder, Metrics: true, LogLevel: "debug"})
	if err == nil {
		err = t.populate(k)
	}
	if err != nil {
		return err
	}
	s, err := t.service(k, "service", tokeniser.Options{LogLevel: "debug", LogFormat: "json", Limits: "timeout = \"2s\"\n"})
	if err != nil {
		return err
	}
	said, echoed := &bytes.Buffer{}, &bytes.Buffer{}
	t.note("%d people through the service", strangers)
	statuses, err := t.visit(s, people, scanner, echoed)
	if err != nil {
		return err
	}
	t.check(statuses[200] > 0 && statuses[400] > 0 && statuses[415] > 0 && statuses[422] > 0 && statuses[404]+statuses[403] > 0, "requests are answered and refused in every way", "%v", statuses)
	page, err := s.MetricsPage(t.ctx)
	if err != nil {
		return err
	}
	said.WriteString(s.Process.Said())
	t.note("killed in the middle")
	if err := t.killedService(s, people); err != nil {
		return err
	}
	said.WriteString(s.Process.Said())
	if err := s.up(); err != nil {
		return err
	}
	if err := s.Stop(); err != nil {
		return err
	}
	said.WriteString(s.Process.Said())
	holderPage, err := k.MetricsPage(t.ctx)
	if err != nil {
		return err
	}
	t.note("looking for them")
	places := map[string][]leak.Finding{
		"what the service says, at level debug": scanner.Bytes("said", said.Bytes()), "the service's metrics": scanner.Text("metrics", page), "refusals": scanner.Bytes("answers", echoed.Bytes()),
		"the key holder's metrics": scanner.Text("metrics", holderPage), "what the key holder says of a service": scanner.Text("said", k.Process.Said()),
	}
	for what, folder := range map[string]string{"the service's store, keys and configuration": s.Folder, "the key holder's store and log": k.Dir} {
		if places[what], err = scanner.Tree(folder); err != nil {
			return err
		}
	}
	for _, what := range slices.Sorted(maps.Keys(places)) {
		detail := ""
		if len(places[what]) > 0 {
			detail = fmt.Sprintf("%d: %s", len(places[what]), places[what][0])
		}
		t.check(len(places[what]) == 0, "nobody is in "+what, "%s", detail)
	}
	t.check(bytes.Count(said.Bytes(), []byte(`"answered"`)) > 100, "the service says what it answered", "%d lines", bytes.Count(said.Bytes(), []byte("\n")))
	return t.plantedInService(s, scanner, people)
}

// peopleBody makes a request of some people in a form.
func peopleBody(f wire.Format, people []leak.Person, change func(row []string)) (*load.Request, error) {
	header := []string{"unique_id", "nhs_number", "given_name", "family_name", "date_of_birth", "sex", "postcode"}
	var rows [][]string
	for _, p := range people {
		row := []string{p.ID, p.Number, p.Given, p.Family, p.Birth.Format(time.DateOnly), "1", p.Postcode}
		if change != nil {
			change(row)
		}
		rows = append(rows, row)
	}
	body, err := load.Body(f, header, rows)
	return &load.Request{Media: f.MediaType(), Body: body, Rows: len(rows)}, err
}

// visit sends people in every way, and looks at the answers: of somebody only the own id
// comes back, in an answer to a request that was of that one. Refusals are gathered.
func (t *Trial) visit(s *served, people []leak.Person, scanner *leak.Scanner, refusals io.Writer) (statuses map[int]int, err error) {
	statuses = map[int]int{}
	c, err := s.conn(caller, "")
	if err != nil {
		return nil, err
	}
	defer c.Close()
	strays, ids := 0, 0
	send := func(r *load.Request, from, to int) error {
		a, err := c.Do(r, c.ID(), time.Minute)
		if err != nil {
			c.Close()
			return nil // the service may close what it does not like
		}
		statuses[a.Status]++
		if a.Status != 200 {
			fmt.Fprintf(refusals, "%v\n%s\n", a.Header, a.Body)
			return nil
		}
		for _, f := range scanner.Bytes("answer", append(fmt.Appendf(nil, "%v\n", a.Header), a.Body...)) {
			if f.Kind == leak.ID && f.Person >= from && f.Person < to {
				ids++
			} else {
				strays++
			}
		}
		return nil
	}
	const many = 500
	for from := 0; from < len(people); from += many {
		f := wire.Formats[from/many%len(wire.Formats)]
		some := people[from : from+many]
		for _, change := range []func([]string){
			nil,
			func(row []string) { row[1], row[4], row[6] = row[1]+"0", "31/02/"+row[4], row[6]+row[1] }, // fields that cannot be used
			func(row []string) { row[2], row[3] = row[2]+" "+row[1], "TEST "+row[3] },
			func(row []string) { row[1], row[2], row[3], row[4], row[6] = "x"+row[1], "", "", "", "" }, // nothing linkable
		} {
			r, err := peopleBody(f, some, change)
			if err != nil {
				return nil, err
			}
			if err := send(r, from, from+many); err != nil {
				return nil, err
			}
		}
	}
	t.check(strays == 0, "an answer holds nobody but by the own id", "%d values are astray", strays)
	t.control(ids > strangers/2, "people are found by their ids in their answers", "%d are", ids)
	for i, p := range people[:1000] {
		r, err := peopleBody(wire.Formats[i%4], people[i:i+1], nil)
		if err != nil {
			return nil, err
		}
		switch i % 10 {
		case 0: // numbers as ids
			r, err = peopleBody(wire.Formats[i/10%4], people[i:i+20], func(row []string) { row[0] = row[1] })
		case 1: // columns that no row has
			r.Media, r.Body = "application/json", fmt.Appendf(nil, `{"rows":[{"unique_id":"1",%q:%q}]}`, p.Family, p.Number)
		case 2:
			r.Media, r.Body = "text/csv", fmt.Appendf(nil, "%s,%s\n%s,%s\n", p.Family, p.Number, p.Given, p.Postcode)
		case 3: // a form that it is not
			r.Media = wire.Formats[(i+1)%4].MediaType()
		case 4:
			r.Media = "text/" + p.Family
		case 5:
			r.Header = map[string]string{"X-Correlation-ID": p.Number, "Accept": "text/" + p.Family, "X-Name": p.Given, "Cookie": p.Number}
		case 6:
			r.Body = r.Body[:len(r.Body)/2]
		case 7:
			r.Header = map[string]string{"Content-Encoding": []string{"gzip", "zstd", p.Family}[i/10%3]}
		case 8:
			r.Media, r.Body = "application/json", fmt.Appendf(nil, `{"rows":[{"unique_id":%q,"nhs_number":[%q]}],%q:1,"return":[%q]}`, p.ID, p.Number, p.Family, p.Postcode)
		}
		if err != nil {
			return nil, err
		}
		if i%10 == 5 {
			// What a caller sends as correlation comes back to that caller: it is the own text.
			if _, err := c.Do(r, c.ID(), time.Minute); err != nil {
				c.Close()
			}
			continue
		}
		if i%10 == 9 {
			if err := t.astrayInAddress(s, p, statuses, refusals); err != nil {
				return nil, err
			}
			continue
		}
		if err := send(r, i, i+20); err != nil {
			return nil, err
		}
	}
	return statuses, t.unfinished(s, people)
}

// astrayInAddress puts somebody into the address, where a project's name belongs.
func (t *Trial) astrayInAddress(s *served, p leak.Person, statuses map[int]int, refusals io.Writer) error {
	for _, path := range []string{"/v1/projects/" + p.Number + "?name=" + p.Family, "/" + p.Number, "/v1/projects/" + s.project + "?return=" + p.Family, "/readyz?project=" + url.QueryEscape(p.Given+" "+p.Number)} {
		body, status, err := s.get(path)
		if err != nil {
			return err
		}
		statuses[status]++
		if status != 200 {
			fmt.Fprintf(refusals, "%s\n", body)
		}
	}
	return nil
}

// unfinished sends requests that end in the middle and that take too long, and ones that no
// client would send.
func (t *Trial) unfinished(s *served, people []leak.Person) error {
	head := "POST /v1/projects/" + s.project + "/tokenise HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-Request-ID: " + idOf(1) + "\r\n"
	for i, p := range people[:40] {
		text := head + "Content-Length: 5000\r\n\r\n" + `{"rows":[{"unique_id":"` + p.ID + `","nhs_number":"` + p.Number + `","family_name":"` + p.Family
		switch i % 8 {
		case 1:
			text = p.Number + " / HTTP/1.1\r\n\r\n"
		case 2:
			text = "GET / HTTP/1.1\r\n" + p.Family + "\r\n\r\n"
		case 3:
			text = head + "Content-Length: " + p.Number + "\r\n\r\n" + p.Family
		case 4:
			text = head + "Transfer-Encoding: chunked\r\n\r\n" + p.Number + "\r\n" + p.Family
		case 5:
			text = "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat(p.Number, 3000) + "\r\n\r\n"
		}
		c, err := s.raw()
		if err != nil {
			return err
		}
		_, _ = io.WriteString(c, text) // the service may have closed it
		if i%8 == 0 {
			answersTo(c, 4*time.Second) // until it has been too slow
		}
		_ = c.Close()
	}
	return nil
}

// killedService kills the service while it answers.
func (t *Trial) killedService(s *served, people []leak.Person) error {
	ctx, cancel := context.WithTimeout(t.ctx, 300*time.Millisecond)
	defer cancel()
	c, err := s.conn(caller, "")
	if err != nil {
		return err
	}
	defer c.Close()
	go func() { <-ctx.Done(); _ = s.Kill() }()
	for i := 0; ctx.Err() == nil; i++ {
		r, err := peopleBody(wire.Formats[i%4], people[i%5*1000:][:1000], nil)
		if err != nil {
			return err
		}
		if _, err := c.Do(r, c.ID(), time.Minute); err != nil {
			break
		}
	}
	<-s.Process.Ended()
	return nil
}

// plantedInService is the control: somebody who is put into a copy of each sort of place is
// found there.
func (t *Trial) plantedInService(s *served, scanner *leak.Scanner, people []leak.Person) error {
	p := people[77]
	logs, err := filepath.Glob(filepath.Join(s.Store, "*.vlog"))
	if err != nil || len(logs) == 0 {
		return fmt.Errorf("the service's store has no file to plant in")
	}
	line := `{"time":"2026-01-01T00:00:00Z","level":"INFO","msg":"answered","request":"` + p.Number + `"}`
	page := `tarn_tokenise_refusals_total{code="` + p.Family + `"} 1`
	for what, planted := range map[string]string{"a log line": line, "a metric": page, "a refusal": `{"detail":"no project ` + p.Postcode + `"}`, "a store's file": "\x00\x01" + p.Number + "\x00"} {
		found := slices.ContainsFunc(scanner.Bytes("planted", []byte(planted)), func(f leak.Finding) bool { return f.Person == 77 })
		t.control(found, "who is planted in "+what+" is found", "")
	}
	return nil
}
