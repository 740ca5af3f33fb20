import Glibc

/// When a run makes which step, and with which learning rate.
struct Schedule: Sendable {
  let exampleCount: Int
  let batchSize: Int
  let stepCount: Int
  private let rate: Float
  private let warmup: Int
  private let isConstant: Bool

  init(_ options: TrainerOptions, exampleCount: Int) {
    self.exampleCount = exampleCount
    batchSize = options.batchSize
    let perEpoch = (exampleCount + options.batchSize - 1) / options.batchSize
    let wanted = (options.epochs * Double(perEpoch)).rounded(.up)
    let steps = wanted < 1e15 ? max(1, Int(wanted)) : Int(1e15)
    stepCount = min(options.maximumSteps ?? .max, steps)
    rate = options.learningRate ?? (options.hasAdapter ? 5e-4 : 1e-3)
    warmup = Int((Double(options.warmupFraction) * Double(stepCount)).rounded())
    isConstant = options.keepsRate
  }

  var stepsPerEpoch: Int { (exampleCount + batchSize - 1) / batchSize }

  /// The epoch of step `step`, from 0, and the positions of its examples in the epoch's order.
  func examples(ofStep step: Int) -> (epoch: Int, positions: Range<Int>) {
    let first = step % stepsPerEpoch * batchSize
    return (step / stepsPerEpoch, first..<min(first + batchSize, exampleCount))
  }

  /// The learning rate of step `step`, from 0: rising to its full height, then falling to 0 as a cosine.
  func learningRate(ofStep step: Int) -> Float {
    if step < warmup { return rate * Float(step + 1) / Float(warmup) }
    if isConstant || stepCount <= warmup { return rate }
    let progress = Double(step - warmup) / Double(stepCount - warmup)
    return rate * Float(0.5 * (1 + cos(.pi * progress)))
  }
}
