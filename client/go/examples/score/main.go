// Score tells how good a model's logits are: their mean loss, their accuracy, and the positions with the
// greatest losses.
//
//	go run ./examples/score -logits x.npy -labels y.npy [-losses out.npy] [-ignore -100] [-server ADDRESS]
//	go run ./examples/score [-save DIRECTORY]
//
// Files are those of numpy.save, and stream from the disk: they may be larger than memory. Without files
// it trains a small softmax regression, with gradients from the server, and scores that; -save keeps its
// logits.npy and labels.npy.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	lossd "github.com/lossd/lossd/client/go"
)

type settings struct {
	server, logits, labels, losses, save string
	ignore                               int64
	worst                                int
}

func main() {
	var s settings
	flag.StringVar(&s.server, "server", cmp.Or(os.Getenv("LOSSD_ADDRESS"), "127.0.0.1:50051"), "`address` of the server")
	flag.StringVar(&s.logits, "logits", "", "`file` with logits (N, C) or (N, C, d1, ..., dK)")
	flag.StringVar(&s.labels, "labels", "", "`file` with class indices (N) or (N, d1, ..., dK)")
	flag.StringVar(&s.losses, "losses", "", "`file` for the loss of each position")
	flag.StringVar(&s.save, "save", "", "`directory` for the logits and labels of the small model")
	flag.Int64Var(&s.ignore, "ignore", -100, "label of positions that do not count")
	flag.IntVar(&s.worst, "worst", 3, "how many positions with great losses to show")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	client, err := lossd.NewClient(s.server)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }()
	problem := lossd.CrossEntropy{Reduction: lossd.None, IgnoreIndex: &s.ignore}
	switch {
	case s.logits != "" && s.labels != "":
		logits, logitsFile, err := open(s.logits)
		if err != nil {
			return err
		}
		defer logitsFile.Close()
		labels, labelsFile, err := open(s.labels)
		if err != nil {
			return err
		}
		defer labelsFile.Close()
		problem.Input, problem.Target = logits, labels
	case s.logits != "" || s.labels != "":
		return errors.New("-logits and -labels go together")
	default:
		logits, labels, err := smallModel(ctx, client, s.save)
		if err != nil {
			return err
		}
		problem.Input, problem.Target = logits, labels
	}
	return score(ctx, client, problem, s)
}

// smallModel trains a softmax regression and gives its logits and labels.
func smallModel(ctx context.Context, client *lossd.Client, directory string) (logits, labels lossd.Operand, err error) {
	var model softmax
	x, y := blobs(300)
	if err := model.train(ctx, client, x, y, 50); err != nil {
		return nil, nil, err
	}
	values := lossd.NewTensor(model.logits(x), len(x), classes)
	if directory != "" {
		err := errors.Join(
			save(filepath.Join(directory, "logits.npy"), "<f4", values.Shape, values.Data),
			save(filepath.Join(directory, "labels.npy"), "<i8", []int{len(y)}, y))
		if err != nil {
			return nil, nil, err
		}
	}
	return values, lossd.NewTensor(y, len(y)), nil
}

// score evaluates the loss of each position once. The mean comes from the exact sums beside them.
func score(ctx context.Context, client *lossd.Client, problem lossd.CrossEntropy, s settings) error {
	result, err := client.CrossEntropy(ctx, problem)
	if err != nil {
		return err
	}
	summary := result.Summary
	counted := summary.GetPositions() - summary.GetIgnored()
	fmt.Printf("%d positions of %d classes, %d ignored\n", summary.GetPositions(), summary.GetClasses(), summary.GetIgnored())
	fmt.Printf("mean loss %.6f\n", result.LossSum()/result.Normalizer())
	fmt.Printf("accuracy %.4f\n", float64(summary.GetCorrect())/float64(counted))
	order := make([]int, result.Loss.Len())
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(result.Loss.At(b), result.Loss.At(a)) })
	for _, position := range order[:min(max(0, s.worst), len(order))] {
		fmt.Printf("position %d: loss %.6f\n", position, result.Loss.At(position))
	}
	if s.losses == "" {
		return nil
	}
	switch losses := result.Loss.(type) {
	case *lossd.Tensor[float64]:
		return save(s.losses, "<f8", losses.Shape, losses.Data)
	case *lossd.Tensor[float32]:
		return save(s.losses, "<f4", losses.Shape, losses.Data)
	}
	return nil
}
