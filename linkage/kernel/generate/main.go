//go:build avo

// Command generate writes the assembly of linkage/kernel and its declarations
// into a folder:
//
//	go run -modfile=tools/go.mod -tags avo ./linkage/kernel/generate linkage/kernel
//
// It has a build tag because what it imports is not among the product's
// requirements.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/pass"
	"github.com/mmcloughlin/avo/printer"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: generate FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(folder string) error {
	c := build.NewContext()
	spread := spreadTable(c)
	for _, depth := range []int{3, 7} {
		scan(c, &avx2{c: c}, spread, depth)
		scan(c, &avx512{c: c}, spread, depth)
	}
	for _, common := range []bool{false, true} {
		fieldsAVX2(c, common)
		fieldsAVX512(c, common)
	}
	file, err := c.Result()
	if err == nil {
		err = pass.Compile.Execute(file)
	}
	if err != nil {
		return fmt.Errorf("compiling: %w", err)
	}
	config := printer.Config{Name: "linkage/kernel/generate", Pkg: "kernel"}
	for name, p := range map[string]printer.Printer{"kernels_amd64.s": printer.NewGoAsm(config), "kernels_amd64.go": printer.NewStubs(config)} {
		text, err := p.Print(file)
		if err == nil {
			err = os.WriteFile(filepath.Join(folder, name), text, 0o644)
		}
		if err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
