//go:build !race

package online_test

const raced = false
