package trial

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"tarn/keys/fault"
)

// Usage is what a process took.
type Usage struct {
	WallS        float64 `json:"wall_s"`
	CPUS         float64 `json:"cpu_s"`
	PeakRSSBytes int64   `json:"peak_rss_bytes"`
}

// sampling is how often a process is asked for its memory.
const sampling = 20 * time.Millisecond

// Run runs a program to its end, as a process of its own, and returns its
// standard output and what it took.
//
// The peak is the high-water mark that /proc tells while the process lives.
// That of getrusage would not do: it begins with the memory of the process that
// started it (Linux, exec_mmap).
func Run(ctx context.Context, folder, program string, args ...string) ([]byte, Usage, error) {
	var u Usage
	var out, said bytes.Buffer
	command := exec.CommandContext(ctx, program, args...)
	command.Dir, command.Stdout, command.Stderr = folder, &out, &said
	begin := time.Now()
	if err := command.Start(); err != nil {
		return nil, u, fault.Wrap(fault.Unavailable, "starting "+program, err, "give the path of a program that can be run")
	}
	done, sampled := make(chan struct{}), make(chan int64)
	go func() { sampled <- sample(command.Process.Pid, done) }()
	err := command.Wait()
	u.WallS = time.Since(begin).Seconds()
	close(done)
	u.PeakRSSBytes = <-sampled
	if state := command.ProcessState; state != nil {
		u.CPUS = (state.UserTime() + state.SystemTime()).Seconds()
	}
	if err != nil {
		return nil, u, fault.Wrap(fault.Internal, "running "+program+" "+strings.Join(args[:min(1, len(args))], ""), fmt.Errorf("%w: %s", err, lastLines(said.String())), "run it by hand")
	}
	return out.Bytes(), u, nil
}

func sample(pid int, done <-chan struct{}) (peak int64) {
	tick := time.NewTicker(sampling)
	defer tick.Stop()
	for {
		peak = max(peak, highWater(pid))
		select {
		case <-tick.C:
		case <-done:
			return peak
		}
	}
}

// highWater is VmHWM of a process, 0 once it has ended.
func highWater(pid int) int64 {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			if err != nil {
				return 0
			}
			return kib << 10
		}
	}
	return 0
}

func lastLines(text string) string {
	const most = 800
	return strings.TrimSpace(text[max(0, len(text)-most):])
}
