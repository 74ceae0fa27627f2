// Worked evaluates the worked example of the repository's README: two positions of two classes.
//
//	go run ./examples/worked [SERVER]
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	lossd "github.com/lossd/lossd/client/go"
)

func main() {
	server := "127.0.0.1:50051"
	if len(os.Args) > 1 {
		server = os.Args[1]
	}
	if err := run(server); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(server string) (err error) {
	client, err := lossd.NewClient(server)
	if err != nil {
		return err
	}
	defer func() {
		if closed := client.Close(); err == nil {
			err = closed
		}
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result, err := client.CrossEntropy(ctx, lossd.CrossEntropy{
		Input:  lossd.NewTensor([]float32{-1.1011, 0.6231, 0.2384, -0.3223}, 2, 2),
		Target: lossd.NewTensor([]int64{0, 1}, 2),
		Want:   lossd.Outputs{GradInput: true},
	})
	if err != nil {
		return err
	}
	fmt.Printf("loss %.7f\n", result.LossValue())
	fmt.Printf("gradient %.7f\n", result.GradInput.(*lossd.Tensor[float32]).Data)
	return nil
}
