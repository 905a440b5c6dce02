package batch

import (
	"context"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/encode"
	"tarn/tokenise/lease"
	"tarn/tokenise/rowkey"
)

// leased returns the project by which a run goes, and its keys, from the key
// holder. The first run of a project's encoding epoch pins the check value of its
// key, so that all cohorts carry one record.
func (o *Options) leased(ctx context.Context, session lease.Session, file *keys.Project, profile *encode.Profile, dataset string) (*keys.Project, *keys.KeyFile, error) {
	project, material := session.Keys()
	if err := lease.Agree(file, project, o.Messages); err != nil {
		return nil, nil, err
	}
	if project.Keys.EncodingKCV == nil {
		encoder, err := encode.NewEncoder(profile, material.EncodingKey, project.Name, project.Keys.EncodingEpoch)
		if err != nil {
			return nil, nil, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
		}
		kcv, err := encoder.KeyCheckValue()
		if err != nil {
			return nil, nil, fault.Wrap(fault.Internal, "computing the key check value", err, "")
		}
		if stated := file.Keys.EncodingKCV; stated != nil && *stated != kcv {
			return nil, nil, fault.New(fault.Disagreement, "comparing the leased keys with the project file",
				"the key check value of the encoding key is "+kcv+" here and "+*stated+" in the file", "name the right project file, profile or key holder")
		}
		if project, err = session.Pin(ctx, kcv); err != nil {
			return nil, nil, err
		}
	}
	path := rowkey.Path(o.State, project.Name, dataset)
	key, made, err := rowkey.Open(o.State, project.Name, dataset, o.Rand)
	if err != nil {
		return nil, nil, err
	}
	material.RowKeys[dataset] = key
	if made {
		return project, material, o.say("made the key of " + dataset + "'s minted ids, " + path + ": keep it and its backup, for without it the same rows get other ids")
	}
	return project, material, nil
}

// close ends a session. That rows could not be reported does not undo what was
// encoded: it is said.
func (o *Options) close(ctx context.Context, session lease.Session) {
	if err := session.Close(ctx); err != nil {
		_ = o.say("the key holder was not told of all rows that its keys were used for: " + err.Error()) // the run's own error goes before
	}
}
