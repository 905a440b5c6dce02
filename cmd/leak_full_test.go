//go:build heavy

package cmd_test

// leaksInFull says that TestNothingLeaks does all that it can.
const leaksInFull = true
