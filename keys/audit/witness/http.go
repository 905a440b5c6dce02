package witness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"tarn/keys/fault"
)

// Path is where a witness takes checkpoints, after its address.
const Path = "/add-checkpoint"

// sizeType is the content type of the size that a conflict is answered with.
const sizeType = "text/x.tlog.size"

// Handler answers C2SP tlog-witness. Nothing that a request says is logged but the
// name of a known log.
func (w *Witness) Handler(logger *slog.Logger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+Path, func(to http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(http.MaxBytesReader(to, r.Body, maxRequest))
		var signature []byte
		if err != nil {
			err = ErrMalformed
		} else {
			signature, err = w.Add(b)
		}
		var conflict *Conflict
		status := http.StatusOK
		switch {
		case err == nil:
			to.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = to.Write(signature) // a log that is gone asks again
		case errors.As(err, &conflict):
			status = http.StatusConflict
			to.Header().Set("Content-Type", sizeType)
			to.WriteHeader(status)
			_, _ = fmt.Fprintf(to, "%d\n", conflict.Size) // as above
		default:
			status = statusOf(err)
			http.Error(to, strings.TrimPrefix(http.StatusText(status), "witness: "), status)
		}
		if status != http.StatusOK && status != http.StatusConflict {
			logger.Warn("a checkpoint was not signed", "status", status)
		}
	})
	mux.HandleFunc("GET /healthz", func(to http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(to, "ok\n") })
	return mux
}

func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrUnknownLog):
		return http.StatusNotFound
	case errors.Is(err, ErrSignature):
		return http.StatusForbidden
	case errors.Is(err, ErrProof):
		return http.StatusUnprocessableEntity
	case errors.Is(err, ErrMalformed):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}

// Client asks a witness.
type Client struct {
	url  string
	http *http.Client
}

// askTimeout is how long a witness may take.
const askTimeout = 5 * time.Second

// NewClient returns a client of the witness at an address, such as
// https://witness.example.nhs.uk.
func NewClient(url string, client *http.Client) *Client {
	return &Client{url: strings.TrimSuffix(url, "/"), http: client}
}

// Add asks for a signature on a checkpoint that follows from one of old entries.
// It returns the signature's lines. A [Conflict] says from which size to ask; an
// error that wraps ErrProof that the witness has signed something that the
// checkpoint contradicts; any other is of kind [fault.Unavailable].
func (c *Client) Add(ctx context.Context, old uint64, hashes [][]byte, signed []byte) ([]byte, error) {
	const doing = "asking the witness to sign the log's checkpoint"
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+Path, bytes.NewReader(format(old, hashes, signed)))
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "the witness's address cannot be used", "give it as https://host:port")
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fault.New(fault.Unavailable, doing, "it cannot be reached", "see that the witness runs")
	}
	defer func() { _ = answer.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(answer.Body, maxRequest))
	if err != nil {
		return nil, fault.New(fault.Unavailable, doing, "its answer was cut off", "see that the witness runs")
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return b, nil
	case http.StatusConflict:
		size, err := strconv.ParseUint(strings.TrimSpace(string(b)), 10, 63)
		if err != nil {
			break
		}
		return nil, &Conflict{Size: size}
	case http.StatusUnprocessableEntity:
		return nil, fmt.Errorf("%s: %w", doing, ErrProof)
	}
	return nil, fault.New(fault.Unavailable, doing, fmt.Sprintf("it answered with status %d", answer.StatusCode), "see that the witness knows this log: auditor witness --help")
}
