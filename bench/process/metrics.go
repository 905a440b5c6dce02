package process

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"tarn/keys/fault"
)

// Page reads a service's metrics, as Prometheus reads them.
func Page(ctx context.Context, url string) (string, error) {
	const doing = "reading a service's metrics"
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fault.New(fault.Internal, doing, "it has no address", "")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", fault.New(fault.Unavailable, doing, "it did not answer", "")
	}
	defer func() { _ = response.Body.Close() }() // read to its end below
	b, err := io.ReadAll(io.LimitReader(response.Body, 8<<20))
	if err != nil {
		return "", fault.New(fault.Unavailable, doing, "its answer was cut off", "")
	}
	return string(b), nil
}

// Metric returns a metric of a page, by its name with its labels as they stand there.
func Metric(page, name string) (value float64, ok bool) {
	for line := range strings.Lines(page) {
		if text, found := strings.CutPrefix(line, name+" "); found {
			_, err := fmt.Sscan(text, &value)
			return value, err == nil
		}
	}
	return 0, false
}
