//go:build heavy

package cmd_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestDeployEveryBound moves every bound of the rules.
func TestDeployEveryBound(t *testing.T) {
	moveBounds(t, func(int) bool { return true })
}

// image is an image that buildah has built, and a container of it.
type image struct {
	t          *testing.T
	store      []string // buildah's flags
	name, root string   // of the container: what it is called, and its file system
}

func (i *image) buildah(args ...string) string {
	i.t.Helper()
	code, said := output(i.t, "buildah", append(slices.Clone(i.store), args...)...)
	if code != 0 {
		i.t.Fatalf("buildah %s: exit %d: %s", args[0], code, said)
	}
	return strings.TrimSpace(said)
}

// built builds a service's image of the binaries as they are shipped.
func built(t *testing.T, service string) *image {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil || os.Geteuid() != 0 {
		t.Skip("buildah is not installed, or this is not root: no image is built")
	}
	context, keep := t.TempDir(), t.TempDir()
	build(t, context)
	must(t, os.Mkdir(filepath.Join(context, "empty"), 0o700))
	i := &image{t: t, store: []string{"--root", keep + "/root", "--runroot", keep + "/run", "--storage-driver", "vfs"}, name: service}
	i.buildah("bud", "--isolation", "chroot", "--build-arg", "VERSION=1.2.3", "-t", "tarn-"+service, "-f", filepath.Join(deployFolder, "container", "Containerfile."+service), context)
	i.buildah("from", "--pull-never", "--name", service, "tarn-"+service)
	t.Cleanup(func() { i.buildah("rm", service) })
	i.root = i.buildah("mount", service)
	return i
}

// run returns a command of the image's program, as the image's user and with nothing else
// of this machine than some folders. Its network is this machine's.
func (i *image) run(folders map[string]string, args ...string) *exec.Cmd {
	flags := append(slices.Clone(i.store), "run", "--isolation", "chroot")
	for _, inside := range slices.Sorted(maps.Keys(folders)) {
		flags = append(flags, "-v", folders[inside]+":"+inside)
	}
	return exec.Command("buildah", append(append(flags, i.name, "--"), args...)...)
}

// holds returns the files that are in the image, with their owners.
func (i *image) holds() (files []string) {
	i.t.Helper()
	code, said := output(i.t, "find", i.root, "-not", "-type", "d", "-printf", "%m %U:%G /%P\n")
	if code != 0 {
		i.t.Fatal(said)
	}
	for line := range strings.Lines(said) {
		// What buildah itself puts into a container that it runs.
		if file := strings.TrimSpace(line); !regexp.MustCompile(` /(etc/(hosts|resolv\.conf|hostname|passwd|group)|(dev|proc|sys|run)/.*)$`).MatchString(file) {
			files = append(files, file)
		}
	}
	return files
}

// TestDeployImages: an image holds its program and no other file, runs it as a user of its
// own, and is one that compose.yaml starts.
func TestDeployImages(t *testing.T) {
	for service, program := range map[string]string{"tokeniser": "tokeniser", "keyholder": "keyholder", "witness": "auditor"} {
		t.Run(service, func(t *testing.T) {
			i := built(t, service)
			want := []string{"755 0:0 /" + program}
			if files := i.holds(); !slices.Equal(files, want) {
				t.Errorf("the image holds %v, want %v", files, want)
			}
			said, err := i.run(nil, "/"+program, "--version").CombinedOutput()
			if err != nil || !strings.HasPrefix(string(said), program+" ") {
				t.Errorf("%s --version: %v: %s", program, err, said)
			}
			if said, err := i.run(nil, "/bin/sh", "-c", "true").CombinedOutput(); err == nil {
				t.Errorf("there is a shell: %s", said)
			}
			var inspected struct {
				OCIv1 struct {
					Config struct {
						User, StopSignal string
						ExposedPorts     map[string]any
						Entrypoint, Cmd  []string
						Volumes          map[string]any
						Labels           map[string]string
					}
				}
			}
			must(t, json.Unmarshal([]byte(i.buildah("inspect", "--type", "image", "tarn-"+service)), &inspected))
			config := inspected.OCIv1.Config
			unit := inUnit(t, service, "ExecStart")[0]
			if started := strings.Join(append(config.Entrypoint, config.Cmd...), " "); "/usr/local/bin"+started != unit {
				t.Errorf("the image starts %s, and the unit %s", started, unit)
			}
			if config.User != "65532:65532" || config.StopSignal != "SIGTERM" || config.Labels["org.opencontainers.image.version"] != "1.2.3" {
				t.Errorf("the image is %+v", config)
			}
			for folder := range config.Volumes {
				info, err := os.Stat(filepath.Join(i.root, folder))
				if err != nil || info.Sys().(*syscall.Stat_t).Uid != 65532 {
					t.Errorf("%s is not the service's: %v", folder, err)
				}
			}
		})
	}
}

// TestDeployImageServes: the key holder runs in its image, as its user, in folders that are its
// own, and its health is asked there; it writes nothing outside its volumes.
func TestDeployImageServes(t *testing.T) {
	i := built(t, "keyholder")
	// buildah lays volumes of its own, of one run, over the folders that are given.
	i.buildah("config", "--volume", "-", i.name)
	before := i.holds()
	folders := map[string]string{}
	for _, inside := range []string{"/etc/tarn/keyholder", "/var/lib/tarn/keyholder", "/srv/tarn/anchor", "/srv/tarn/log"} {
		folders[inside] = t.TempDir()
		must(t, os.Chown(folders[inside], 65532, 65532))
		must(t, os.Chmod(filepath.Dir(folders[inside]), 0o755))
	}
	address := freeAddress(t)
	example, err := os.ReadFile(filepath.Join(deployFolder, "config", "keyholder.toml"))
	must(t, err)
	config := strings.NewReplacer(atKeyholder, address, atKeyholderMetrics, freeAddress(t), "witness_", "# witness_", "[alerts]\nurl", "[alerts]\n# url", "\nca =", "\n# ca =").Replace(string(example))
	path := filepath.Join(folders["/etc/tarn/keyholder"], "keyholder.toml")
	must(t, os.WriteFile(path, []byte(config), 0o600))
	must(t, os.Chown(path, 65532, 65532))
	if said, err := i.run(folders, "/keyholder", "init", "--dir", "/var/lib/tarn/keyholder/store", "--anchor", "/srv/tarn/anchor/anchor.json", "--handout", "/var/lib/tarn/keyholder/handout",
		"--custody", "shares", "--shares", "3", "--threshold", "2", "--operator", "ann", "--operator", "bob", "--organisation", "X26", "--host", "127.0.0.1").CombinedOutput(); err != nil {
		t.Fatalf("init: %v: %s", err, said)
	}
	serving := i.run(folders, "/keyholder", "serve", "--config", "/etc/tarn/keyholder/keyholder.toml")
	words := &bytes.Buffer{}
	serving.Stdout, serving.Stderr = words, words
	must(t, serving.Start())
	ended := make(chan error, 1)
	go func() { ended <- serving.Wait() }()
	health := func(more ...string) (int, string) {
		command := i.run(folders, append([]string{"/keyholder", "health", "--config", "/etc/tarn/keyholder/keyholder.toml"}, more...)...)
		said, _ := command.CombinedOutput() // the code is looked at
		return command.ProcessState.ExitCode(), string(said)
	}
	until(t, "the key holder lives", func() bool { code, said := health("--live"); t.Log(code, said); return code == 0 })
	if code, said := health(); code == 0 || !strings.Contains(said, "sealed") {
		t.Errorf("health of a sealed one: exit %d: %s", code, said)
	}
	// The program itself is told to end, and not what runs it.
	program := descendant(t, serving.Process.Pid, "keyholder")
	must(t, syscall.Kill(program, syscall.SIGTERM))
	select {
	case <-ended:
	case <-time.After(time.Minute):
		_ = serving.Process.Kill()
		t.Fatal("it did not end")
	}
	if after := i.holds(); !slices.Equal(before, after) {
		t.Errorf("the image held %v, and holds %v", before, after)
	}
}

// descendant returns the process of a program that a process has started, by way of others.
func descendant(t *testing.T, of int, program string) int {
	t.Helper()
	for queue := []int{of}; len(queue) > 0; queue = queue[1:] {
		if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", queue[0])); err == nil && strings.TrimSpace(string(name)) == program {
			return queue[0]
		}
		tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", queue[0]))
		for _, task := range tasks {
			children, _ := os.ReadFile(task) // it may have ended
			for _, child := range strings.Fields(string(children)) {
				if pid, err := strconv.Atoi(child); err == nil {
					queue = append(queue, pid)
				}
			}
		}
	}
	t.Fatalf("%s was not started", program)
	return 0
}

// allowedCalls returns the system calls that the filters of a unit let through, as
// systemd-analyze names them.
func allowedCalls(t *testing.T, service string) map[string]bool {
	t.Helper()
	members := func(set string) (all []string) {
		code, said := output(t, "systemd-analyze", "syscall-filter", "--no-pager", set)
		if code != 0 {
			t.Fatalf("there is no set %s: %s", set, said)
		}
		for line := range strings.Lines(said) {
			if word := strings.TrimSpace(line); strings.HasPrefix(line, " ") && word[0] != '#' {
				all = append(all, word)
			}
		}
		return all
	}
	var each func(set string, do func(call string))
	each = func(set string, do func(call string)) {
		for _, member := range members(set) {
			if member[0] == '@' {
				each(member, do)
			} else {
				do(member)
			}
		}
	}
	allowed := map[string]bool{}
	each("@default", func(call string) { allowed[call] = true }) // always
	for _, filter := range inUnit(t, service, "SystemCallFilter") {
		sets, denied := strings.CutPrefix(filter, "~")
		for _, set := range strings.Fields(sets) {
			each(set, func(call string) { allowed[call] = !denied })
		}
	}
	return allowed
}

var (
	call     = regexp.MustCompile(`^\d+\s+([a-z0-9_]+)\((.*)$`)
	opened   = regexp.MustCompile(`^[A-Z_]+, "([^"]*)", \S*O_(?:WRONLY|RDWR|CREAT)`)
	socketOf = regexp.MustCompile(`^(AF_[A-Z0-9]+)`)
)

// offences returns what of a trace the unit of its service would not have let through.
func offences(trace string, allowed map[string]bool, families, folders []string) (found []string) {
	seen := map[string]bool{}
	report := func(format string, values ...any) {
		if text := fmt.Sprintf(format, values...); !seen[text] {
			seen[text] = true
			found = append(found, text)
		}
	}
	for line := range strings.Lines(trace) {
		m := call.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil { // the rest of a call, or a signal
			continue
		}
		if !allowed[m[1]] {
			report("%s", m[1])
		}
		switch m[1] {
		case "mmap", "mprotect", "pkey_mprotect":
			if strings.Contains(m[2], "PROT_EXEC") && (m[1] != "mmap" || strings.Contains(m[2], "PROT_WRITE")) {
				report("%s of memory to write and execute", m[1])
			}
		case "socket":
			if f := socketOf.FindString(m[2]); !slices.Contains(families, f) {
				report("socket of %s", f)
			}
		case "openat":
			if path := opened.FindStringSubmatch(m[2]); path != nil && path[1] != "/dev/null" && !slices.ContainsFunc(folders, func(folder string) bool { return strings.HasPrefix(path[1]+"/", folder+"/") }) {
				report("%s opened to write", path[1])
			}
		}
	}
	return found
}

// TestDeploySystemCalls traces the services from their start to their end, and holds what
// they do to what their units let them do.
func TestDeploySystemCalls(t *testing.T) {
	for _, needed := range []string{"strace", "systemd-analyze"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Skip(needed + " is not installed: no system call is looked at")
		}
	}
	traces := t.TempDir()
	trace := func(service string) string { return filepath.Join(traces, service) }
	d := newDeployment(t, func(service string) []string {
		return []string{"strace", "-D", "-f", "-qq", "-A", "-o", trace(service)}
	})
	d.ready()
	if status := d.post(people); status != 200 {
		t.Fatalf("rows: %d", status)
	}
	must(t, d.services["tokeniser"].Signal(syscall.SIGHUP))
	until(t, "the tokeniser reads its configuration again", func() bool {
		return strings.Contains(d.services["tokeniser"].Said(), "the configuration was read again")
	})
	d.run("keyholder", "backup", "--as", d.path("/ann"))
	for _, service := range []string{"tokeniser", "keyholder", "witness"} {
		d.stop(service)
	}
	for _, service := range []string{"tokeniser", "keyholder", "witness"} {
		until(t, "the trace is whole", func() bool {
			b, err := os.ReadFile(trace(service))
			return err == nil && strings.Contains(string(b), "exit_group(")
		})
		b, err := os.ReadFile(trace(service))
		must(t, err)
		allowed := allowedCalls(t, service)
		families := strings.Fields(inUnit(t, service, "RestrictAddressFamilies")[0])
		folders := []string{d.path("/var/lib/" + inUnit(t, service, "StateDirectory")[0])}
		for _, more := range inUnit(t, service, "ReadWritePaths") {
			for _, folder := range strings.Fields(more) {
				folders = append(folders, d.path(folder))
			}
		}
		if found := offences(string(b), allowed, families, folders); len(found) > 0 {
			t.Errorf("%s: its unit does not allow %v", service, found)
		}
		t.Logf("%s: %d lines", service, strings.Count(string(b), "\n"))
		// The control: each of these is found.
		for _, line := range []string{
			`9 chown("/etc", 0, 0) = 0`, `9 ptrace(PTRACE_TRACEME) = -1 EPERM (x)`, `9 mmap(NULL, 4096, PROT_READ|PROT_WRITE|PROT_EXEC, MAP_PRIVATE, -1, 0) = 0x7f`,
			`9 mprotect(0x7f, 4096, PROT_READ|PROT_EXEC) = 0`, `9 socket(AF_UNIX, SOCK_STREAM, 0) = 3`, `9 openat(AT_FDCWD, "/etc/tarn/x", O_RDWR|O_CREAT, 0600) = 3`,
		} {
			if len(offences(line+"\n", allowed, families, folders)) == 0 {
				t.Errorf("%s: %s is not found", service, line)
			}
		}
	}
}
