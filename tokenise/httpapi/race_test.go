//go:build race

package httpapi_test

// raceDetector makes everything ten times slower.
const raceDetector = true
