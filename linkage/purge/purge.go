// Package purge deletes the encodings behind a result, once its links are
// accepted, and records that it did.
package purge

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/result"
)

// Schemas of the documents.
const (
	InputsSchema = "tarn.link-inputs/1"
	Schema       = "tarn.link-purge/1"
)

// Names of the files in a result folder. Where the inputs lay is nothing that a
// result should say to those it is handed to, so its file is hidden.
const (
	InputsFile = ".inputs.json"
	File       = "purge.json"
)

// Inputs says where the cohorts of a result were.
type Inputs struct {
	Schema   string  `json:"schema"`
	Software string  `json:"software"`
	Created  string  `json:"created"`
	Inputs   []Input `json:"inputs"`
}

// Input is one cohort: the absolute path of its file or folder.
type Input struct {
	CohortID string `json:"cohort_id"`
	Path     string `json:"path"`
}

// Record is purge.json: what was deleted, and when.
type Record struct {
	Schema   string   `json:"schema"`
	Software string   `json:"software"`
	Created  string   `json:"created"`
	Project  string   `json:"project"`
	RunID    string   `json:"run_id"`
	Purged   []Purged `json:"purged"`
}

// Purged is one cohort whose encodings were deleted, or were gone already.
type Purged struct {
	SourceDataset string `json:"source_dataset"`
	CohortID      string `json:"cohort_id"`
	Rows          int64  `json:"rows"`
	Files         []Gone `json:"files"`
}

// Gone is one file that is not there any more.
type Gone struct {
	Name      string  `json:"name"`
	Bytes     *int64  `json:"bytes"`      // nil where it had gone before, and no purge deleted it
	Deleted   bool    `json:"deleted"`    // by this purge or an earlier one
	DeletedAt *string `json:"deleted_at"` // nil where no purge deleted it
	Now       bool    `json:"-"`          // deleted by this purge
}

// Options are the settings of a purge.
type Options struct {
	Result   string   // the folder
	Cohorts  []string // where the cohorts are, if they have been moved
	DryRun   bool     // say what would be deleted
	Software string
	Clock    func() time.Time
}

// Run deletes the Parquet files of every cohort of a result; their manifests,
// which say what was there and hold no encoding, stay. A file at the place of a
// cohort that is not that cohort is not touched, and is an error. What an
// earlier purge deleted stays on record. What the storage keeps of deleted files
// is not in its power.
func Run(ctx context.Context, o Options) (*Record, error) {
	summary, err := result.ReadSummary(o.Result)
	if err != nil {
		return nil, err
	}
	paths, err := o.paths(ctx, summary.Method)
	if err != nil {
		return nil, err
	}
	earlier, err := o.earlier()
	if err != nil {
		return nil, err
	}
	r := &Record{Schema: Schema, Software: o.Software, Created: o.Clock().UTC().Format(time.RFC3339), Project: summary.Project, RunID: summary.RunID, Purged: []Purged{}}
	var folders []string
	for _, in := range summary.Inputs {
		path, ok := paths[in.CohortID]
		if !ok {
			return nil, fault.New(fault.Usage, "purging "+o.Result, "it is not known where the cohort of "+in.SourceDataset+" lies", "name the files of all its cohorts after the result")
		}
		files, err := gone(path)
		if err != nil {
			return nil, err
		}
		r.Purged = append(r.Purged, Purged{SourceDataset: in.SourceDataset, CohortID: in.CohortID, Rows: in.Rows, Files: merged(files, earlier[in.CohortID])})
		folders = append(folders, folderOf(path))
	}
	if o.DryRun {
		return r, nil
	}
	err = r.remove(folders)
	// What was deleted is on record also where something else could not be.
	return r, cmp.Or(err, result.WriteDocument(o.Result, File, r))
}

// remove deletes the files that are there.
func (r *Record) remove(folders []string) error {
	for i := range r.Purged {
		for k := range r.Purged[i].Files {
			f := &r.Purged[i].Files[k]
			if f.Deleted || f.Bytes == nil {
				continue
			}
			name := filepath.Join(folders[i], f.Name)
			if err := os.Remove(name); err != nil {
				return fault.Wrap(fault.Internal, "deleting "+name, err, "make its folder writable, then run linker purge again")
			}
			f.Deleted, f.DeletedAt, f.Now = true, &r.Created, true
		}
	}
	return nil
}

// earlier returns what an earlier purge of the result deleted, by cohort_id.
func (o *Options) earlier() (map[string][]Gone, error) {
	name := filepath.Join(o.Result, File)
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	var r Record
	if err == nil {
		err = keys.DecodeStrict(b, &r)
	}
	if err != nil || r.Schema != Schema {
		return nil, fault.New(fault.Usage, "reading "+name, "it is damaged, or of another version", "keep it elsewhere, then run linker purge again")
	}
	deleted := map[string][]Gone{}
	for _, p := range r.Purged {
		for _, f := range p.Files {
			if f.Deleted && f.DeletedAt != nil && f.Bytes != nil {
				deleted[p.CohortID] = append(deleted[p.CohortID], f)
			}
		}
	}
	return deleted, nil
}

// merged lists the files of a cohort: those that are there, and those that were
// deleted.
func merged(files, deleted []Gone) []Gone {
	if len(deleted) == 0 {
		return files
	}
	// A file without a size is the place where the cohort was.
	files = slices.DeleteFunc(files, func(f Gone) bool { return f.Bytes == nil })
	return append(deleted, files...)
}

// folderOf returns the folder that holds the files of a cohort.
func folderOf(path string) string {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return path
	}
	return filepath.Dir(path)
}

// gone lists the files of a cohort, with their sizes where they are there.
func gone(path string) ([]Gone, error) {
	parts, err := cohort.Parts(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && len(parts) == 0 {
		return []Gone{{Name: filepath.Base(path)}}, nil
	}
	if err != nil {
		return nil, err
	}
	var list []Gone
	for _, part := range parts {
		info, err := os.Stat(part)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, "purging "+part, err, "")
		}
		size := info.Size()
		list = append(list, Gone{Name: filepath.Base(part), Bytes: &size})
	}
	return list, nil
}

// paths returns where each cohort of the result lies, by cohort_id, and makes
// sure that what lies there is that cohort.
func (o *Options) paths(ctx context.Context, method string) (map[string]string, error) {
	paths := map[string]string{}
	if len(o.Cohorts) > 0 {
		for _, path := range o.Cohorts {
			id, err := identify(ctx, path)
			if err != nil {
				return nil, err
			}
			paths[id] = path
		}
		return paths, nil
	}
	inputs := new(Inputs)
	name := filepath.Join(o.Result, InputsFile)
	b, err := os.ReadFile(name)
	if err != nil {
		next := "name their files after the result"
		if method == result.MethodCLK {
			next += "; files of CLKs are for you to delete"
		}
		return nil, fault.New(fault.Usage, "purging "+o.Result, "it does not say where its cohorts lie", next)
	}
	if err := keys.DecodeStrict(b, inputs); err != nil || inputs.Schema != InputsSchema {
		return nil, fault.New(fault.Usage, "reading "+name, "it is damaged", "name the files of the cohorts after the result")
	}
	for _, in := range inputs.Inputs {
		if _, err := os.Stat(in.Path); err == nil {
			id, err := identify(ctx, in.Path)
			if err != nil {
				return nil, err
			}
			if id != in.CohortID {
				return nil, fault.New(fault.Usage, "purging "+in.Path, "another cohort lies there than the one that was linked", "name the files of the cohorts after the result")
			}
		}
		paths[in.CohortID] = in.Path
	}
	return paths, nil
}

func identify(ctx context.Context, path string) (string, error) {
	f, err := cohort.Open(ctx, path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return f.Manifest.CohortID, nil
}

// WriteInputs records where the cohorts of a result lie.
func WriteInputs(folder, software, created string, inputs []Input) error {
	d := Inputs{Schema: InputsSchema, Software: software, Created: created, Inputs: inputs}
	for i := range d.Inputs {
		path, err := filepath.Abs(d.Inputs[i].Path)
		if err != nil {
			return fault.Wrap(fault.Internal, "recording where the cohorts lie", err, "")
		}
		d.Inputs[i].Path = path
	}
	return result.WriteDocument(folder, InputsFile, d)
}
