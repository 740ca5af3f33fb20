import Tensor
import Transformer

extension Trainer {
  /// One step of the optimiser. Throws `.cancelled`, `.io`, `.mismatch`; nothing has changed then.
  func train() throws(IVGError) -> TrainerReport {
    let (epoch, positions) = schedule.examples(ofStep: step)
    let order = ShuffledOrder(
      count: split.trainingCount, seed: options.seed, epoch: UInt64(epoch))
    var examples: [TrainingExample] = []
    for position in positions { examples.append(try data.example(split.training(order[position]))) }
    let terms = examples.reduce(0) { $0 + objective.terms($1) }
    let batches = MicroBatch.divide(
      examples, rows: plan.rows, options: options,
      key: SplitMix.mix(options.seed &+ SplitMix.mix(UInt64(step))))
    vector.clearGradients()
    var figures = Figures()
    for batch in batches {
      figures.add(
        try objective.compute(
          batch, weight: 1 / Double(terms), reference: reference(_:), derives: true))
    }
    let norm = optimizer.gradientNorm()
    // Its square must stay within the range of floats.
    guard norm < 1e18 else {
      throw IVGError(
        .invalidArgument,
        "the gradient of step \(step + 1) has the length \(norm); a lower learning_rate may help")
    }
    let rate = schedule.learningRate(ofStep: step)
    optimizer.update(number: step + 1, rate: rate, norm: norm)
    step += 1
    var report = TrainerReport(.train)
    figures.fill(&report)
    report.gradientNorm = norm
    report.learningRate = Double(rate)
    report.done = step
    report.total = stepCount
    let every = options.evaluateEvery ?? schedule.stepsPerEpoch
    evaluationIsDue = evaluationCount > 0 && (step % every == 0 || step == stepCount)
    if step % options.checkpointEvery == 0 || step == stepCount { noteChange() }
    return report
  }

  /// Has the next call begin with a checkpoint.
  func noteChange() { checkpointIsDue = options.checkpointPath != nil }
}
