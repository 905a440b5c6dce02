package source_test

import (
	"context"
	"errors"
	"io"
	"testing"

	"tarn/tokenise/source"
)

// TestOpeningEndsWithTheContext: a pipe whose writer is silent keeps nobody
// waiting, before its format is found and after.
func TestOpeningEndsWithTheContext(t *testing.T) {
	silent, writer := io.Pipe()
	t.Cleanup(func() { _ = writer.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := source.OpenContext(ctx, "-", source.Options{Stdin: silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("opening: %v", err)
	}
	if _, err := source.OpenRecordsContext(ctx, "-", "id", source.Options{Stdin: silent}); !errors.Is(err, context.Canceled) {
		t.Errorf("opening for its pieces: %v", err)
	}
}
