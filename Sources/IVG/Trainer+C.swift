import CIVG
import Guidance
import Tensor
import Training
import Transformer

final class TrainerHandle {
  let trainer: Trainer
  /// Keeps the weights mapped.
  let model: LanguageModel
  /// Lent out as reasons: one for each problem that is described.
  let reasons: [LentString]

  init(_ trainer: Trainer, _ model: LanguageModel) {
    self.trainer = trainer
    self.model = model
    reasons = trainer.problems.map { LentString($0.reason) }
  }

  static func of(_ pointer: OpaquePointer) -> TrainerHandle {
    Handle.object(pointer, as: TrainerHandle.self)
  }
}

@_cdecl("ivg_trainer_options_init") @implementation
public func ivg_trainer_options_init(
  _ options: UnsafeMutablePointer<ivg_trainer_options>, _ struct_size: UInt32
) { Struct.initialize(options, struct_size) }

@_cdecl("ivg_trainer_create") @implementation
public func ivg_trainer_create(
  _ out: UnsafeMutablePointer<OpaquePointer?>, _ model: OpaquePointer,
  _ options: UnsafePointer<ivg_trainer_options>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let model = ModelHandle.of(model).model
    let trainer = try Trainer(model: model, options: trainerOptions(options))
    out.pointee = Handle.retain(TrainerHandle(trainer, model))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_trainer_free") @implementation
public func ivg_trainer_free(_ trainer: OpaquePointer?) {
  Handle.release(trainer, as: TrainerHandle.self)
}

@_cdecl("ivg_trainer_next") @implementation
public func ivg_trainer_next(
  _ trainer: OpaquePointer, _ report: UnsafeMutablePointer<ivg_trainer_report>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    _ = try Struct.size(of: report, "ivg_trainer_report")
    guard let made = try TrainerHandle.of(trainer).trainer.next() else {
      return ivg_status(IVG_DONE)
    }
    var value = ivg_trainer_report()
    value.kind = made.kind.rawValue
    value.step = UInt64(made.step)
    value.step_count = UInt64(made.stepCount)
    value.done = UInt64(made.done)
    value.total = UInt64(made.total)
    value.token_count = UInt64(made.tokenCount)
    value.seconds = made.seconds
    value.tokens_per_second = made.seconds > 0 ? Double(made.tokenCount) / made.seconds : 0
    value.epoch = made.epoch
    value.loss = made.loss
    value.learning_rate = made.learningRate
    value.gradient_norm = made.gradientNorm
    value.accuracy = made.accuracy
    value.margin = made.margin
    value.chosen = made.chosen
    value.rejected = made.rejected
    value.kl = made.divergence
    value.correlation = made.correlation
    try Struct.write(value, to: report, "ivg_trainer_report")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_trainer_cancel") @implementation
public func ivg_trainer_cancel(_ trainer: OpaquePointer) {
  TrainerHandle.of(trainer).trainer.cancelFlag.raise()
}

@_cdecl("ivg_trainer_save") @implementation
public func ivg_trainer_save(
  _ trainer: OpaquePointer, _ path: UnsafePointer<CChar>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    try TrainerHandle.of(trainer).trainer.save(path: String(cString: path))
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_trainer_checkpoint") @implementation
public func ivg_trainer_checkpoint(
  _ trainer: OpaquePointer, _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    try TrainerHandle.of(trainer).trainer.checkpoint()
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_trainer_problem_count") @implementation
public func ivg_trainer_problem_count(_ trainer: OpaquePointer) -> UInt64 {
  UInt64(TrainerHandle.of(trainer).trainer.problemCount)
}

@_cdecl("ivg_trainer_problem") @implementation
public func ivg_trainer_problem(
  _ trainer: OpaquePointer, _ index: UInt64,
  _ problem: UnsafeMutablePointer<ivg_trainer_problem_info>,
  _ error: UnsafeMutablePointer<OpaquePointer?>?
) -> ivg_status {
  boundary(error) { () throws(IVGError) in
    let handle = TrainerHandle.of(trainer)
    guard index < handle.reasons.count else {
      throw IVGError(
        .invalidArgument, "problem \(index): \(handle.reasons.count) are described")
    }
    let found = handle.trainer.problems[Int(index)]
    var value = ivg_trainer_problem_info()
    value.is_evaluation = found.isEvaluation ? 1 : 0
    value.line = UInt64(found.line)
    value.reason = handle.reasons[Int(index)].borrowed
    try Struct.write(value, to: problem, "ivg_trainer_problem_info")
    return ivg_status(IVG_OK)
  }
}

@_cdecl("ivg_trainer_describe") @implementation
public func ivg_trainer_describe(
  _ trainer: OpaquePointer, _ info: UnsafeMutablePointer<ivg_trainer_info>
) {
  let trainer = TrainerHandle.of(trainer).trainer
  var value = ivg_trainer_info()
  value.kept_layers = UInt32(trainer.keptLayers)
  value.example_count = UInt64(trainer.exampleCount)
  value.evaluation_count = UInt64(trainer.evaluationCount)
  value.parameter_count = UInt64(trainer.parameterCount)
  value.step_count = UInt64(trainer.stepCount)
  value.resumed_step = UInt64(trainer.resumedStep)
  value.memory = UInt64(trainer.memory)
  try? Struct.write(value, to: info, "ivg_trainer_info")
}
