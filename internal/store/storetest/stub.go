package storetest

import "testing"

var dedupTests, fanOutTests, claimTests, orderTests, finishTests, takeOverTests, ledgerTests, operatorTests, pauseTests, readTests, rejectTests, retainTests map[string]func(*testing.T, *bench)
