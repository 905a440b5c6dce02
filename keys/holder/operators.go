package holder

import (
	"context"
	"slices"

	"tarn/keys/api"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/reidentify"
)

// What operators who have signed in do: the keyring holds every rule of it, and refuses who
// is no operator by the policy that is set.

// askOperation asks for a change in a person's name. The request's id makes the operation's:
// a retry gets the same operation.
func askOperation(ctx context.Context, ring *keyring.Keyring, person *reidentify.Person, requestID string, request api.OperationRequest) (api.Operation, error) {
	return ring.Ask(ctx, keyring.AsOperator(person), requestID, request)
}

// decideOperation approves or rejects what another person asked for.
func decideOperation(ctx context.Context, ring *keyring.Keyring, person *reidentify.Person, id string, request api.ApprovalRequest) (api.Operation, error) {
	return ring.Decide(ctx, keyring.AsOperator(person), id, request)
}

// collectForPerson gives the one-time code of an approved change to who asked, once.
func collectForPerson(ctx context.Context, ring *keyring.Keyring, person *reidentify.Person, id string) (api.Collected, error) {
	collected, err := ring.Collect(ctx, keyring.AsOperator(person), id)
	if err != nil {
		return api.Collected{}, err
	}
	return collected.Collected, nil
}

// operationsForPerson returns the changes of the kinds that people may ask for, oldest first:
// in a state, or all where it is empty.
func operationsForPerson(ring *keyring.Keyring, person *reidentify.Person, state string) ([]api.Operation, error) {
	if state != "" && !slices.Contains(api.OperationStates(), api.OperationState(state)) {
		return nil, api.Refuse(api.CodeMalformed, "state is not one that an operation can have", "see /v1/openapi.json, or leave it out for all")
	}
	return ring.ForPeople(person).Operations(api.OperationState(state))
}

// operationForPerson returns one of them, in full, for its approver.
func operationForPerson(ring *keyring.Keyring, person *reidentify.Person, id string) (api.Operation, error) {
	return ring.ForPeople(person).Operation(id)
}

// projectsForPerson returns every project, by name.
func projectsForPerson(ring *keyring.Keyring, person *reidentify.Person) ([]api.Project, error) {
	return ring.ForPeople(person).Projects()
}

// clientsForPerson returns every client, by name.
func clientsForPerson(ring *keyring.Keyring, person *reidentify.Person) ([]api.Client, error) {
	return ring.ForPeople(person).Clients()
}
