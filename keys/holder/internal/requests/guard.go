package requests

import (
	"context"
	"slices"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/reidentify"
)

// May returns what a person may do as things are.
func (r *Requests) May(by *reidentify.Person) reidentify.Abilities {
	policy, _, _ := r.ring.Policy()
	if policy == nil {
		policy = &reidentify.Policy{}
	}
	projects := []reidentify.Project{}
	for i := range policy.Projects {
		if project, there := r.ring.Reidentifiable(policy.Projects[i].Name); there {
			projects = append(projects, project.Project)
		}
	}
	return policy.May(by, projects)
}

// Guards refuses whoever does not read the log.
func (r *Requests) Guards(by *reidentify.Person) error {
	if policy, _, _ := r.ring.Policy(); policy == nil || !policy.IsGuardian(by) {
		return reidentify.Refuse(reidentify.RuleNotGuardian)
	}
	return nil
}

// mostEvents is how many entries one search gives.
const mostEvents = 200

// Events searches the log for a guardian. It looks at every entry.
func (r *Requests) Events(ctx context.Context, by *reidentify.Person, filter *api.EventFilter) (*api.EventsFound, error) {
	if err := r.Guards(by); err != nil {
		return nil, err
	}
	most := min(max(filter.Most, 1), mostEvents)
	found := &api.EventsFound{Items: []api.Event{}}
	var err error
	// The rarest text that every entry has which is meant: an entry without it is not read.
	text := slices.MaxFunc([]string{filter.Request, filter.Subject, filter.Organisation, filter.Project, filter.Kind}, func(a, b string) int { return len(a) - len(b) })
	found.Searched, err = r.options.Log.Search(ctx, text, func(index uint64, entry []byte) {
		leaf, wrong := audit.Decode(entry)
		if wrong != nil || !lets(filter, &leaf) {
			return
		}
		found.Found++
		if found.Items = append(found.Items, api.Event{Index: index, Leaf: entry}); len(found.Items) >= 2*most {
			found.Items = slices.Delete(found.Items, 0, len(found.Items)-most)
		}
	})
	if err != nil {
		return nil, err
	}
	found.Items = slices.Clone(found.Items[max(0, len(found.Items)-most):])
	slices.Reverse(found.Items)
	return found, nil
}

// lets reports whether a filter lets an entry through.
func lets(f *api.EventFilter, leaf *audit.Leaf) bool {
	is := func(want, have string) bool { return want == "" || want == have }
	return is(f.Kind, string(leaf.Kind)) && is(f.Project, leaf.Project) && is(f.Organisation, leaf.Actor.Organisation) && is(f.Subject, leaf.Actor.Subject) &&
		is(f.Request, leaf.Request) && (f.From.IsZero() || leaf.Time >= audit.FormatTime(f.From)) && (f.Before.IsZero() || leaf.Time < audit.FormatTime(f.Before))
}
