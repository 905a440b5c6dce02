package linkage

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"tarn/linkage/result"
)

// peak is the most that was on disk at one time.
type peak struct{ bytes atomic.Int64 }

func (p *peak) add(bytes int64) {
	for {
		most := p.bytes.Load()
		if bytes <= most || p.bytes.CompareAndSwap(most, bytes) {
			return
		}
	}
}

// resources states what the process has used so far; disk is what it held
// beside its results at most.
func resources(from, to time.Time, stages []result.Stage, disk *int64) result.Resources {
	r := result.Resources{WallS: to.Sub(from).Seconds(), Stages: stages, PeakDiskBytes: disk}
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) == nil {
		cpu := time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
		peak := usage.Maxrss * 1024 // Linux counts kibibytes
		r.CPUS, r.PeakRSSBytes = &cpu, &peak
	}
	return r
}
