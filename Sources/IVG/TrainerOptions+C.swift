import CIVG
import Tensor
import Training
import Transformer

/// The caller's options with defaults filled in. Bounds are checked by the trainer.
func trainerOptions(_ pointer: UnsafePointer<ivg_trainer_options>) throws(IVGError)
  -> TrainerOptions
{
  let given =
    try Struct.read(pointer, "ivg_trainer_options", reserved: { $0.reserved })
    ?? ivg_trainer_options()
  var options = TrainerOptions()
  guard let objective = Objective(rawValue: given.objective) else {
    throw IVGError(
      .invalidArgument, "objective is \(given.objective), must be one of IVG_OBJECTIVE_...")
  }
  options.objective = objective
  if given.loss != 0 {
    guard let loss = LossKind(rawValue: given.loss) else {
      throw IVGError(.invalidArgument, "loss is \(given.loss), must be one of IVG_LOSS_...")
    }
    options.loss = loss
  }
  try setFlags(given.flags, &options)
  setFiles(given, &options)
  setSizes(given, &options)
  try setAdapter(given, &options)
  setOptimizer(given, &options)
  return options
}

private func setFlags(_ flags: UInt32, _ options: inout TrainerOptions) throws(IVGError) {
  try Input.check(
    flags: flags,
    known: IVG_TRAINER_HEAD_ONLY, IVG_TRAINER_NO_END_TOKEN, IVG_TRAINER_STRICT,
    IVG_TRAINER_VOCABULARY_HEAD, IVG_TRAINER_CONSTANT_RATE)
  func has(_ flag: Int) -> Bool { flags & UInt32(flag) != 0 }
  options.trainsHeadOnly = has(IVG_TRAINER_HEAD_ONLY)
  options.appendsEnd = !has(IVG_TRAINER_NO_END_TOKEN)
  options.isStrict = has(IVG_TRAINER_STRICT)
  options.hasVocabularyHead = has(IVG_TRAINER_VOCABULARY_HEAD)
  options.keepsRate = has(IVG_TRAINER_CONSTANT_RATE)
}

private func setFiles(_ given: ivg_trainer_options, _ options: inout TrainerOptions) {
  func path(_ pointer: UnsafePointer<CChar>?) -> String? { pointer.map { String(cString: $0) } }
  options.dataPath = path(given.data_path) ?? ""
  options.evaluationPath = path(given.evaluation_path)
  options.startPath = path(given.start_path)
  options.checkpointPath = path(given.checkpoint_path)
  options.promptTemplate = Text.bytes(given.prompt_template)
  options.evaluationFraction = given.evaluation_fraction
}

private func setSizes(_ given: ivg_trainer_options, _ options: inout TrainerOptions) {
  func count(_ value: UInt64) -> Int? { value == 0 ? nil : Int(clamping: value) }
  func count(_ value: UInt32) -> Int? { count(UInt64(value)) }
  if given.epochs != 0 { options.epochs = given.epochs }
  options.maximumSteps = count(given.max_steps)
  options.seed = given.seed
  options.memoryBudget = count(given.memory_budget) ?? options.memoryBudget
  options.threadCount = count(given.thread_count) ?? ThreadTeam.processorCount
  options.batchSize = count(given.batch_size) ?? options.batchSize
  options.maximumTokens = count(given.max_tokens)
  options.maximumPromptTokens = count(given.max_prompt_tokens)
  options.evaluateEvery = count(given.evaluate_every)
  options.patience = count(given.patience)
  options.checkpointEvery = count(given.checkpoint_every) ?? options.checkpointEvery
}

private func setAdapter(_ given: ivg_trainer_options, _ options: inout TrainerOptions)
  throws(IVGError)
{
  if given.rank != 0 { options.rank = Int(given.rank) }
  if given.alpha != 0 { options.alpha = given.alpha }
  options.dropout = given.dropout
  guard given.projections != 0 else { return }
  guard given.projections < 1 << Projection.allCases.count else {
    throw IVGError(
      .unsupported,
      "projections is \(given.projections); known bits: \((1 << Projection.allCases.count) - 1)")
  }
  options.projections = Set(
    Projection.allCases.filter { given.projections & 1 << UInt32($0.rawValue) != 0 })
}

private func setOptimizer(_ given: ivg_trainer_options, _ options: inout TrainerOptions) {
  if given.learning_rate != 0 { options.learningRate = given.learning_rate }
  if given.warmup_fraction != 0 {
    options.warmupFraction = given.warmup_fraction < 0 ? 0 : given.warmup_fraction
  }
  options.weightDecay = given.weight_decay
  if given.beta1 != 0 { options.beta1 = given.beta1 }
  if given.beta2 != 0 { options.beta2 = given.beta2 }
  if given.clip_norm != 0 { options.clipNorm = given.clip_norm < 0 ? nil : given.clip_norm }
  if given.beta != 0 { options.beta = given.beta }
  options.labelSmoothing = given.label_smoothing
}
