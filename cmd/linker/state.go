package main

import (
	"os"
	"path/filepath"

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
	if _, err := os.Stat(filepath.Join(earlier, linkage.StateFile)); err == nil {
		return s, linkage.KeepState(earlier, s.working)
	}
	return s, nil
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
	if state != "" {
		return makeShared(folder, state, func() error { return job(folder.Path(), checkpoint, state) })
	}
	own, err := newOwnState(out, checkpoint, folder)
	if err != nil {
		return err
	}
	if err := job(folder.Path(), checkpoint, own.working); err != nil {
		return err
	}
	if err := linkage.KeepState(own.working, own.final); err != nil {
		return err
	}
	return folder.Commit()
}

// makeShared is makeResult for a state that several results share: it changes
// after the result has its name, so that a job which is stopped before that, and
// done again, finds the same one.
func makeShared(folder *outdir.Folder, state string, job func() error) error {
	release, err := linkage.LockState(state)
	if err != nil {
		return err
	}
	defer release()
	if err := job(); err != nil {
		return err
	}
	if err := folder.Commit(); err != nil {
		return err
	}
	return linkage.KeepState(state, state)
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
