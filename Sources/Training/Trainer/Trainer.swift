import GGUF
import Glibc
import Guidance
import Tensor
import Tokenizer
import Transformer

/// A training run, pulled step by step.
///
/// It goes through phases: what is computed once before training (`Trainer+Prepare`), steps of the optimiser
/// (`Trainer+Step`) with evaluations in between (`Trainer+Evaluate`), and its end. Its state is small and
/// complete (`Trainer+Checkpoint`): the order of examples, dropout and learning rates are functions of seed
/// and step.
///
/// Threads: one call at a time; `cancelFlag` may be raised at any time.
package final class Trainer {
  package let cancelFlag = CancelFlag()
  let options: TrainerOptions
  let trunk: Trunk
  let team: ThreadTeam
  let data: TrainingData
  let evaluationData: TrainingData?
  let split: DataSplit
  let schedule: Schedule
  let vector: ParameterVector
  let adapter: TrainableAdapter?
  let head: TrainableHead?
  let objective: ObjectivePass
  let optimizer: Optimizer
  let plan: PassPlan
  let identity: RunIdentity
  /// The numbers that a preference run starts from, if they are not the trunk's own.
  let startValues: AlignedBuffer<Float>?

  // What a checkpoint holds.
  var step = 0
  /// Log-probabilities before training of both sequences of every preference: [examples, 2], by number.
  var reference: [Double] = []
  var evaluationReference: [Double] = []
  var evaluationIsDue = false
  var bestLoss = Double.infinity
  var bestValues: AlignedBuffer<Float>?
  var worseEvaluations = 0
  var hasEnded = false

  /// Examples that were prepared in this process.
  var preparedCount = 0
  var checkpointIsDue = false
  package internal(set) var resumedStep = 0
  package let memory: Int
  package let problems: [TrainerProblem]
  package let problemCount: Int

  /// Opens and checks the data, takes the memory, and takes up the checkpoint if there is one.
  ///
  /// Throws what `ivg_trainer_create` returns.
  package init(model: LanguageModel, options given: TrainerOptions) throws(IVGError) {
    try given.check()
    var options = given
    options.loss = given.loss ?? given.objective.losses.first
    let setup = try TrainerSetup(model: model, options: options, cancel: cancelFlag)
    self.options = setup.options
    trunk = setup.trunk
    team = setup.team
    data = setup.data
    evaluationData = setup.evaluationData
    split = setup.split
    schedule = Schedule(setup.options, exampleCount: setup.split.trainingCount)
    vector = setup.vector
    adapter = setup.adapter
    head = setup.head
    startValues = setup.startValues
    plan = setup.plan
    memory = setup.memory
    identity = setup.identity
    problems = setup.problems
    problemCount = setup.problemCount
    objective = ObjectivePass(
      options: setup.options, trunk: setup.trunk, pass: setup.pass, head: setup.head,
      states: setup.states, expectation: setup.expectation, cancel: cancelFlag)
    optimizer = try Optimizer(vector: setup.vector, team: setup.team, options: setup.options)
    if setup.options.patience != nil {
      bestValues = try AlignedBuffer(count: setup.vector.count)
    }
    try resume()
  }

  // MARK: What it is

  package var stepCount: Int { schedule.stepCount }
  package var exampleCount: Int { split.trainingCount }
  package var evaluationCount: Int { evaluationData?.count ?? split.evaluationCount }
  package var parameterCount: Int { vector.count }
  package var keptLayers: Int { plan.keptLayers }

  // MARK: Steps

  /// Does the next piece of work; nil when there is none left.
  ///
  /// Throws `.cancelled`, after which the call may be repeated; `.io` and `.mismatch` for the data; `.io` for
  /// the checkpoint, which is tried again by the next call.
  package func next() throws(IVGError) -> TrainerReport? {
    if cancelFlag.take() { throw IVGError(.cancelled, "cancelled") }
    do {
      if checkpointIsDue {
        try checkpoint()
        checkpointIsDue = false
      }
      return try report()
    } catch {
      if error.kind == .cancelled { _ = cancelFlag.take() }
      throw error
    }
  }

  private func report() throws(IVGError) -> TrainerReport? {
    let start = Self.now()
    var report: TrainerReport
    if !evaluationIsDue, hasEnded || step >= stepCount {
      hasEnded = true
      return nil
    } else if preparedCount < prepareCount {
      report = try prepare()
    } else if evaluationIsDue {
      report = try evaluate()
    } else {
      report = try train()
    }
    report.step = step
    report.stepCount = stepCount
    report.epoch = Double(step) / Double(schedule.stepsPerEpoch)
    report.seconds = Self.now() - start
    return report
  }

  private static func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
  }

  // MARK: Examples

  /// Evaluation example `index`.
  func evaluationExample(_ index: Int) throws(IVGError) -> TrainingExample {
    if let evaluationData { return try evaluationData.example(index) }
    return try data.example(split.evaluation(index))
  }

  /// Log-probabilities before training of a preference's sequences.
  func reference(_ example: TrainingExample) -> [Double] {
    let values = example.isEvaluation ? evaluationReference : reference
    return [values[2 * example.number], values[2 * example.number + 1]]
  }
}
