package linkage

import (
	"time"

	"golang.org/x/sys/unix"

	"tarn/linkage/result"
)

// resources states what the process has used so far. Nothing is spilled to
// disk, so peak disk is unknown rather than measured.
func resources(from, to time.Time, stages []result.Stage) result.Resources {
	r := result.Resources{WallS: to.Sub(from).Seconds(), Stages: stages}
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) == nil {
		cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
		peak := usage.Maxrss * 1024 // Linux counts kibibytes
		r.CPUS, r.PeakRSSBytes = &cpu, &peak
	}
	return r
}
