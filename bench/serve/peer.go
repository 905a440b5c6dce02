package serve

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/valyala/fasthttp"
	"github.com/valyala/fastjson"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/trialcert"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
)

// Kinds of peers.
const (
	// PeerBare is fasthttp with the parser that the service uses, and nothing else: each
	// row is parsed and its fields are read, which is what a parser is for.
	PeerBare = "bare"
	// PeerFast is the same with fastjson, the fastest parser there is for this, which the
	// service does not use: it makes a tree of a hundred bytes a value, and takes what is no
	// JSON.
	PeerFast = "fastjson"
	// PeerNetHTTP does the same work as the service with net/http and encoding/json:
	// token and encodings of each row, with the same engine.
	PeerNetHTTP = "net-http"
)

// ServePeer runs a peer with the certificates of a folder, until the context ends. It says
// where it answers on to.
func ServePeer(ctx context.Context, kind, folder, project, keyFile string, to io.Writer) error {
	config, err := peerTLS(filepath.Join(folder, "tls"))
	if err != nil {
		return err
	}
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(to, "answering on %s\n", socket.Addr())
	listener := tls.NewListener(socket, config)
	if kind != PeerNetHTTP {
		handler := bare
		if kind == PeerFast {
			handler = fast
		}
		server := &fasthttp.Server{Handler: handler, NoDefaultServerHeader: true, MaxRequestBodySize: 64 << 20}
		context.AfterFunc(ctx, func() { _ = listener.Close() }) // it ends
		return server.Serve(listener)
	}
	engine, err := engineOf(project, keyFile)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: &plain{engine: engine}, ErrorLog: log.New(io.Discard, "", 0)}
	context.AfterFunc(ctx, func() { _ = server.Close() }) // it ends
	return server.Serve(listener)
}

func peerTLS(folder string) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, trialcert.ServerCert), filepath.Join(folder, trialcert.ServerKey))
	if err != nil {
		return nil, err
	}
	pem, err := os.ReadFile(filepath.Join(folder, trialcert.AuthorityFile))
	if err != nil {
		return nil, err
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(pem)
	return &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientCAs: clients, ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"http/1.1"}}, nil
}

var parsers fastjson.ParserPool

// bare parses a request and reads its fields.
func bare(ctx *fasthttp.RequestCtx) {
	answer(ctx, func(body []byte) (length int) {
		d := tokens.Get().(*jsontext.Decoder)
		defer tokens.Put(d)
		for d.Reset(bytes.NewBuffer(body)); ; {
			switch kind := d.PeekKind(); kind {
			case '{', '}', '[', ']':
				if _, err := d.ReadToken(); err != nil {
					return -1
				}
			default:
				value, err := d.ReadValue()
				if err != nil {
					return length
				}
				length += len(value)
			}
		}
	})
}

var tokens = sync.Pool{New: func() any { return jsontext.NewDecoder(new(bytes.Buffer)) }}

// fast does with fastjson.
func fast(ctx *fasthttp.RequestCtx) {
	answer(ctx, func(body []byte) (length int) {
		parser := parsers.Get()
		defer parsers.Put(parser)
		document, err := parser.ParseBytes(body)
		if err != nil {
			return -1
		}
		for _, row := range document.GetArray("rows") {
			object, err := row.Object()
			if err != nil {
				return -1
			}
			object.Visit(func(name []byte, value *fastjson.Value) { length += len(name) + len(value.GetStringBytes()) })
		}
		return length
	})
}

func answer(ctx *fasthttp.RequestCtx, read func(body []byte) int) {
	ctx.SetContentType("application/json")
	ctx.SetBody(strconv.AppendInt([]byte(`{"read":`), int64(read(ctx.PostBody())), 10))
	_, _ = ctx.WriteString("}") // into memory
}

func engineOf(project, keyFile string) (*online.Engine, error) {
	record, err := keys.ReadProject(project)
	if err != nil {
		return nil, err
	}
	material, err := keys.ReadKeyFile(keyFile)
	if err != nil {
		return nil, err
	}
	profile, err := encode.LoadProfile(record.Profile, filepath.Dir(project))
	if err != nil {
		return nil, err
	}
	engine, err := online.NewEngine(online.Options{Project: record, Keys: material, Profile: profile})
	if err != nil {
		return nil, err
	}
	return engine, engine.Warm(context.Background(), demographics.DateOf(time.Now().UTC()))
}

// plain answers with net/http and encoding/json, as one writes it first.
type plain struct{ engine *online.Engine }

type plainRow struct {
	UniqueID           string `json:"unique_id"`
	NHSNumber          string `json:"nhs_number"`
	GivenName          string `json:"given_name"`
	OtherGivenNames    string `json:"other_given_names"`
	FamilyName         string `json:"family_name"`
	PreviousFamilyName string `json:"previous_family_name"`
	DateOfBirth        string `json:"date_of_birth"`
	Sex                string `json:"sex"`
	Postcode           string `json:"postcode"`
	GPPracticeCode     string `json:"gp_practice_code"`
}

type plainAnswer struct {
	UniqueID  string             `json:"unique_id"`
	Status    string             `json:"status"`
	Token     *string            `json:"nhs_token,omitempty"`
	Encodings map[string]*string `json:"encodings,omitempty"`
	Tags      map[string]*string `json:"tags,omitempty"`
	Warnings  []plainProblem     `json:"warnings,omitempty"`
	Errors    []plainProblem     `json:"errors,omitempty"`
}

type plainProblem struct {
	Field string `json:"field"`
	Code  string `json:"code"`
}

func (p *plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Return []string   `json:"return"`
		Rows   []plainRow `json:"rows"`
	}
	if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
		http.Error(w, "malformed", http.StatusBadRequest)
		return
	}
	asked := online.Asked{Tokens: true, Encodings: true}
	if words := r.URL.Query().Get("return"); words == "token" {
		asked.Encodings = false
	}
	worker := p.engine.NewWorker()
	worker.Judge(demographics.DateOf(time.Now().UTC()))
	layout := p.engine.Layout()
	answers := make([]plainAnswer, 0, len(request.Rows))
	var a online.Answer
	for i := range request.Rows {
		in := &request.Rows[i]
		row := online.Row{ID: in.UniqueID, Values: [10]string{"", in.NHSNumber, in.GivenName, in.OtherGivenNames, in.FamilyName, in.PreviousFamilyName, in.DateOfBirth, in.Sex, in.Postcode, in.GPPracticeCode}}
		if err := worker.Answer(&row, asked, nil, &a); err != nil {
			http.Error(w, "failed", http.StatusInternalServerError)
			return
		}
		out := plainAnswer{UniqueID: in.UniqueID, Status: "ok"}
		if a.Refused {
			out.Status = "refused"
		}
		if a.HasToken {
			text := string(p.engine.AppendToken(nil, &a.Token))
			out.Token = &text
		}
		if asked.Encodings && !a.Refused {
			out.Encodings, out.Tags = map[string]*string{}, map[string]*string{}
			for j, filter := range a.Encoded.Filters {
				text := base64.StdEncoding.EncodeToString(filter)
				out.Encodings[layout.Filters[j].Name] = &text
			}
			for j, tag := range a.Encoded.Blocks {
				text := strconv.FormatInt(tag.Value, 10)
				out.Tags[layout.Blocks[j]] = &text
			}
			for j, tag := range a.Encoded.Tags {
				text := strconv.FormatInt(tag.Value, 10)
				out.Tags[layout.Tags[j]] = &text
			}
		}
		for _, problem := range a.Warnings {
			out.Warnings = append(out.Warnings, plainProblem{problem.Field, string(problem.Code)})
		}
		answers = append(answers, out)
	}
	w.Header().Set("Content-Type", wire.JSON.MediaType())
	_ = json.NewEncoder(w).Encode(map[string]any{"rows": answers}) // the caller has gone: nothing to tell it
}

// pinned runs f with the processor that the process's children will have: of two processors
// the generator has one and the server the other. It is that of this thread for as long.
func pinned(cpu int, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := affinity()
	if err != nil {
		return err
	}
	if err := setAffinity(cpu); err != nil {
		return fault.Wrap(fault.Internal, "giving the server a processor of its own", err, "")
	}
	defer func() { _ = restore(before) }() // the thread is one of many
	return f()
}
