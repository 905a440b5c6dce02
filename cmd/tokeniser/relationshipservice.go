package main

import (
	"tarn/cmd/internal/boot/metrics"
	"tarn/tokenise/escrow"
	"tarn/tokenise/relationship"
)

// openEscrow has it kept whose tokens are, in the region's store.
func (s *service) openEscrow() error {
	keeper, err := escrow.NewKeeper(s.store, escrow.Options{Clock: s.env.Wall, Rand: s.env.Rand})
	if err != nil {
		return err
	}
	s.kept = &relationship.Kept{Keeper: keeper, Domain: s.domain}
	for _, p := range s.projects {
		p.KeepEscrow(keeper)
	}
	return nil
}

// domain returns the name of the domain of a number, of the projects that are served.
func (s *service) domain(number uint32) string {
	for _, p := range s.projects {
		if name, no := p.Domain(); name != "" && no == number {
			return name
		}
	}
	return ""
}

// openRelationships makes what answers the key holder's questions, where it is configured.
func (s *service) openRelationships(registry *metrics.Registry) (err error) {
	c := &s.config.Relationships
	if !c.Given() {
		return nil
	}
	s.asked, s.askedOn, err = c.Open(s.kept, s.env.Wall, s.env.Logger, metrics.NewRelationships(registry, s.meter))
	return err
}
