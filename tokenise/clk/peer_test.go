package clk

import (
	"encoding/json"
	"testing"

	"tarn/bench/peer"
)

type rawJSON = json.RawMessage

// startPeer starts clkhash itself.
func startPeer(t testing.TB) *peer.Peer {
	t.Helper()
	return peer.Start(t, peer.Python(t, "clkhash"), "clkhash_peer.py")
}
