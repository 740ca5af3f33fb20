import GGUF
import Tensor
import Transformer

/// What two processes must agree on to work at the same run: the model, the data and every option that
/// changes a bit.
struct RunIdentity {
  /// Names and values, in a fixed order.
  let parts: [(name: String, value: String)]

  init(
    options: TrainerOptions, trunk: Trunk, data: DataFile, evaluation: DataFile?, start: GGUFFile?
  ) {
    let c = trunk.configuration
    parts = [
      ("model.architecture", c.architecture.name), ("model.file_size", "\(trunk.file.fileSize)"),
      ("model.weights", hexadecimal(Self.sample(trunk.file))),
      ("data", hexadecimal(data.fingerprint)),
      ("evaluation", evaluation.map { hexadecimal($0.fingerprint) } ?? ""),
      ("start", start.map { hexadecimal(Self.hash($0)) } ?? ""),
      ("objective", "\(options.objective.rawValue)"), ("loss", "\(options.loss?.rawValue ?? 0)"),
      (
        "flags",
        "\([options.trainsHeadOnly, options.appendsEnd, options.hasVocabularyHead, options.keepsRate])"
      ),
      ("prompt_template", String(decoding: options.promptTemplate ?? [], as: UTF8.self)),
      ("evaluation_fraction", "\(options.evaluationFraction)"), ("epochs", "\(options.epochs)"),
      ("max_steps", "\(options.maximumSteps ?? 0)"), ("seed", "\(options.seed)"),
      ("batch_size", "\(options.batchSize)"), ("max_tokens", "\(options.maximumTokens ?? 0)"),
      ("max_prompt_tokens", "\(options.maximumPromptTokens ?? 0)"), ("rank", "\(options.rank)"),
      ("projections", "\(options.projections.map(\.rawValue).sorted())"),
      ("alpha", "\(options.alpha ?? 0)"), ("dropout", "\(options.dropout)"),
      ("learning_rate", "\(options.learningRate ?? 0)"),
      ("warmup_fraction", "\(options.warmupFraction)"), ("weight_decay", "\(options.weightDecay)"),
      ("beta1", "\(options.beta1)"), ("beta2", "\(options.beta2)"),
      ("clip_norm", "\(options.clipNorm ?? 0)"), ("beta", "\(options.beta)"),
      ("label_smoothing", "\(options.labelSmoothing)"),
      ("evaluate_every", "\(options.evaluateEvery ?? 0)"),
      ("patience", "\(options.patience ?? 0)"),
    ]
  }

  /// Throws `.mismatch` naming the first part in which a checkpoint differs.
  func check(_ metadata: GGUFMetadata, path: String) throws(IVGError) {
    for (name, value) in parts {
      let stored = try metadata.string("run." + name) ?? "nothing"
      guard stored == value else {
        throw IVGError(
          .mismatch,
          "\(path): the checkpoint is of another run: its \(name) is '\(stored)', this one's '\(value)'"
        )
      }
    }
  }

  /// A hash of all tensors.
  private static func hash(_ file: GGUFFile) -> UInt64 {
    file.tensors.reduce(0) { ($0 << 7 | $0 >> 57) ^ ContentHash.hash(file.data($1)) }
  }

  /// A hash of the first bytes of every tensor: enough to tell models apart without reading all of them.
  private static func sample(_ file: GGUFFile) -> UInt64 {
    file.tensors.reduce(0) {
      let bytes = file.data($1)
      return ($0 << 7 | $0 >> 57)
        ^ ContentHash.hash(UnsafeRawBufferPointer(rebasing: bytes.prefix(1 << 14)))
    }
  }
}

private func hexadecimal(_ value: UInt64) -> String { String(value, radix: 16) }
