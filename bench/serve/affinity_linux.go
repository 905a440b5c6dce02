package serve

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

func affinity() (set unix.CPUSet, err error) {
	err = unix.SchedGetaffinity(0, &set)
	return set, err
}

func setAffinity(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	return unix.SchedSetaffinity(0, &set)
}

func restore(set unix.CPUSet) error { return unix.SchedSetaffinity(0, &set) }

// pinAll gives all threads of this process a set of processors; those that are made later
// have that of who makes them.
func pinAll(set unix.CPUSet) error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, thread := range threads {
		id, err := strconv.Atoi(thread.Name())
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, &set); err != nil && err != unix.ESRCH { // it has ended
			return err
		}
	}
	return nil
}

func oneCPU(cpu int) (set unix.CPUSet) {
	set.Set(cpu)
	return set
}
