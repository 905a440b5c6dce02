package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"tarn/cmd/internal/boot"
	"tarn/linkage"
	"tarn/linkage/result"
)

// writePlan prints what a job would take.
func (f *linkFlags) writePlan(env *boot.Environment, p *linkage.Plan) error {
	if f.asJSON {
		return env.PrintJSON(p)
	}
	var b strings.Builder
	for _, in := range p.Inputs {
		b.WriteString(inputText(in.SourceDataset, in.Rows, in.ValidTokens, in.Tokens))
	}
	for _, pass := range byName(p.Passes) {
		fmt.Fprintf(&b, "blocking by %-9s %s pairs in %s blocks, the largest of %s pairs", pass.Name, humanize.Comma(pass.Pairs), humanize.Comma(pass.Blocks), humanize.Comma(pass.Widest))
		if pass.Tiled > 0 {
			fmt.Fprintf(&b, "; %s blocks are compared in tiles", humanize.Comma(pass.Tiled))
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "pairs            %s\n", humanize.Comma(p.Pairs))
	if p.Recall != nil {
		fmt.Fprintf(&b, "blocking finds   about %.2f%% of the matches that are there\n", 100**p.Recall)
	}
	fmt.Fprintf(&b, "time             about %s on %d cores\n", (time.Duration(*p.Seconds*10) * time.Second / 10).String(), f.threads)
	fmt.Fprintf(&b, "memory           about %s of %s\n", humanize.IBytes(uint64(*p.MemoryBytes)), f.memory)
	fmt.Fprintf(&b, "disk             about %s while it runs, %s for the result\n", humanize.IBytes(uint64(*p.DiskBytes)), humanize.IBytes(uint64(p.ResultBytes)))
	if !p.Enough {
		b.WriteString("--memory is not enough: give more, or link fewer records at a time\n")
	}
	for _, warning := range p.Warnings {
		fmt.Fprintf(&b, "warning: %s: %s\n", warning.Code, warning.Text)
	}
	_, err := io.WriteString(env.Stdout, b.String())
	return err
}

// byName adds up passes of one name: the hashes of filters make many.
func byName(passes []result.Pass) (sums []result.Pass) {
	for _, pass := range passes {
		if n := len(sums); n > 0 && sums[n-1].Name == pass.Name {
			last := &sums[n-1]
			last.Blocks, last.Pairs, last.Tiled = last.Blocks+pass.Blocks, last.Pairs+pass.Pairs, last.Tiled+pass.Tiled
			last.Widest = max(last.Widest, pass.Widest)
			continue
		}
		sums = append(sums, pass)
	}
	return sums
}
