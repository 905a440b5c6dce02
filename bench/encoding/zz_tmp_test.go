package encoding
import ("testing";"os";"time";"syscall";"context")
func cpu() time.Duration { var u syscall.Rusage; syscall.Getrusage(syscall.RUSAGE_SELF,&u); return time.Duration(u.Utime.Nano()+u.Stime.Nano()) }
func TestTmp(t *testing.T) { t.Chdir("/tmp/w/bt")
	o := Options{Folder: "/tmp/w/bt", Python: os.Getenv("TARN_PYTHON"), Software: "x", Clock: time.Now, Progress: func(string){}}
	s := &suite{Options: o, ctx: t.Context(), rows: 100_000}
	if err := s.prepare(); err != nil { t.Fatal(err) }
	x := 60.
	c := s.clkCase(&x)
	for range 3 {
		b := cpu()
		r, err := c.Subject(context.Background())
		d := cpu()-b
		t.Log(r, err, 100000/d.Seconds())
	}
	p, err := s.clkhash(t.Context())
	t.Log(p, err)
}
