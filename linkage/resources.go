package linkage

import (
	"fmt"
	"os"
	"strings"
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
		r.CPUS = &cpu
	}
	r.PeakRSSBytes = peakMemory()
	return r
}

// peakMemory returns the most memory that the process has held, which
// getrusage does not tell: its figure begins with that of the process before
// exec. It is nil where the system does not say.
func peakMemory() *int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(status)) {
		var kibibytes int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kibibytes); n == 1 {
			bytes := kibibytes * 1024
			return &bytes
		}
	}
	return nil
}
