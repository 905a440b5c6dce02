// Package codeflow is a stand-in.
package codeflow

import "tarn/keys/reidentify"

type Want struct {
	ReturnTo string
	ACR      []string
	Fresh    bool
}
type Result struct {
	Person         reidentify.Person
	Name, ReturnTo string
}

func Local(s string) string { return s }
