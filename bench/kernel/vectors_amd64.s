#include "textflag.h"

// func vectorOperations(rounds int)
// 16 operations a round on registers of 256 bits, in 8 chains of their own.
TEXT ·vectorOperations(SB), NOSPLIT, $0-8
	MOVQ rounds+0(FP), CX

round:
	VPXOR Y0, Y1, Y1
	VPXOR Y0, Y2, Y2
	VPXOR Y0, Y3, Y3
	VPXOR Y0, Y4, Y4
	VPXOR Y0, Y5, Y5
	VPXOR Y0, Y6, Y6
	VPXOR Y0, Y7, Y7
	VPXOR Y0, Y8, Y8
	VPAND Y0, Y1, Y1
	VPAND Y0, Y2, Y2
	VPAND Y0, Y3, Y3
	VPAND Y0, Y4, Y4
	VPAND Y0, Y5, Y5
	VPAND Y0, Y6, Y6
	VPAND Y0, Y7, Y7
	VPAND Y0, Y8, Y8
	DECQ CX
	JNZ   round
	VZEROUPPER
	RET
