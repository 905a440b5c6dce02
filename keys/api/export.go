package api

import (
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"fmt"

	"tarn/keys"
)

// exportInfo binds an export to the operator's certificate:
// LP("tarn/export-keys/v1", certificate).
func exportInfo(certificate [sha256.Size]byte) []byte {
	return keys.LP(keys.Text("tarn/export-keys/v1"), certificate[:])
}

// SealExport seals a keys.json, without row keys, to the operator who asked for
// it.
func SealExport(file *keys.KeyFile, operator []byte, certificate [sha256.Size]byte) ([]byte, error) {
	public, err := LeaseKEM().NewPublicKey(operator)
	if err != nil {
		return nil, errors.New("the operator's sealing key is not one of MLKEM768X25519")
	}
	document, err := file.Encode("", "")
	if err != nil {
		return nil, errors.New("the key file could not be made")
	}
	defer clear(document)
	kdf, aead := leaseSuite()
	sealed, err := hpke.Seal(public, kdf, aead, exportInfo(certificate), document)
	if err != nil {
		return nil, fmt.Errorf("sealing an export: %w", err)
	}
	return sealed, nil
}

// OpenExport returns the keys.json that was sealed to this operator. Its row keys
// are not in it: they are made where the rows are.
func OpenExport(sealed []byte, operator hpke.PrivateKey, certificate [sha256.Size]byte) (*keys.KeyFile, error) {
	kdf, aead := leaseSuite()
	document, err := hpke.Open(operator, kdf, aead, exportInfo(certificate), sealed)
	if err != nil {
		return nil, errors.New("the export does not open: it was sealed for another operator, or changed on its way")
	}
	defer clear(document)
	return keys.ParseKeyFile(document)
}
