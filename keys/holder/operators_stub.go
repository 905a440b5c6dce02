package holder

import (
	"context"

	"tarn/keys/api"
	"tarn/keys/holder/console"
)

func (p pages) See(ctx context.Context, who console.Caller) (*api.OperatorsSee, error) {
	return nil, nil
}
func (p pages) AskChange(context.Context, console.Caller, *api.OperationRequest) (*api.Operation, error) {
	return nil, nil
}
func (p pages) DecideChange(ctx context.Context, c console.Caller, id string, given *api.ApprovalRequest) (*api.Operation, error) {
	return nil, nil
}
func (p pages) CollectChange(ctx context.Context, c console.Caller, id string) (*api.Collected, error) {
	return nil, nil
}
