package main

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage"
	"tarn/linkage/cohort/outdir"
)

// stateFolder is where the linker keeps its state inside the result, unless
// --state names another place.
const stateFolder = ".state"

// ownState is the state of a result that holds its own. While the job runs it
// lies with the checkpoints, so that a job that was killed goes on with the
// same cluster ids; then it moves into the result.
type ownState struct{ working, final string }

// newOwnState returns the state of the result out, which is made in folder;
// that of an earlier result is kept.
func newOwnState(out, checkpoint string, folder *outdir.Folder) (*ownState, error) {
	s := &ownState{working: filepath.Join(checkpoint, stateFolder), final: filepath.Join(folder.Path(), stateFolder)}
	earlier := filepath.Join(out, stateFolder)
	if _, err := os.Stat(filepath.Join(earlier, stateFile)); err == nil {
		return s, copyState(earlier, s.working)
	}
	return s, nil
}

const stateFile = "state.json"

// keep puts the state into the result.
func (s *ownState) keep() error { return copyState(s.working, s.final) }

func copyState(from, to string) error {
	doing := "keeping the linker's state"
	b, err := os.ReadFile(filepath.Join(from, stateFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil // the method needs none
	}
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	defer clear(b)
	if err := os.MkdirAll(to, 0o700); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	if err := keys.WriteFile(filepath.Join(to, stateFile), b); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	return nil
}

// makeResult runs a job that writes the result out, which takes its name when
// the job is done; state is where the linker's state is kept, "" in the result
// itself.
func makeResult(out, state string, job func(folder, checkpoint, state string) error) error {
	folder, err := outdir.Begin(out, isResult)
	if err != nil {
		return err
	}
	defer folder.Abort()
	checkpoint, err := folder.Checkpoint()
	if err != nil {
		return err
	}
	defer discardEmpty(checkpoint)
	own, err := newOwnState(out, checkpoint, folder)
	if err != nil {
		return err
	}
	if err := job(folder.Path(), checkpoint, cmp.Or(state, own.working)); err != nil {
		return err
	}
	if state == "" {
		if err := own.keep(); err != nil {
			return err
		}
	}
	return folder.Commit()
}

// discardEmpty removes a checkpoint folder from which nothing can go on, when
// a job has ended by itself, and the output folder if there is nothing else.
func discardEmpty(checkpoint string) {
	if _, err := os.Stat(filepath.Join(checkpoint, linkage.CheckpointFile)); err == nil {
		return
	}
	_ = os.RemoveAll(checkpoint)            // what stays is ignored
	_ = os.Remove(filepath.Dir(checkpoint)) // fails where there is anything else
}
