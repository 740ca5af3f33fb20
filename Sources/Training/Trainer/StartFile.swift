import GGUF
import Tensor
import Transformer

/// The adapter or value head that a run begins with. Its shape is then the run's.
struct StartFile {
  let file: GGUFFile
  private let adapter: Adapter?
  private let head: ValueHead?

  /// nil without a path. Sets rank, alpha, projections and kind of head in `options`.
  ///
  /// Throws `.mismatch` for a file of another model, or one that the objective cannot begin with.
  init?(path: String?, trunk: Trunk, options: inout TrainerOptions) throws(IVGError) {
    guard let path else { return nil }
    file = try GGUFFile(path: path)
    if options.hasHead {
      let head = try ValueHead(path: path, trunk: trunk)
      guard options.objective == .value || head.kind == .scalar else {
        throw IVGError(.mismatch, "\(path): a reward needs a scalar head")
      }
      if options.trainsHeadOnly, head.adapter != nil {
        throw IVGError(
          .mismatch, "\(path): the head has an adapter; it cannot go on as IVG_TRAINER_HEAD_ONLY")
      }
      options.hasVocabularyHead = head.kind == .vocabulary
      self.head = head
      adapter = head.adapter
    } else {
      head = nil
      adapter = try Adapter(path: path, trunk: trunk)
    }
    guard let adapter else { return }
    let shape = try TrainableAdapter.Shape(of: adapter)
    (options.rank, options.projections, options.alpha) = (
      shape.rank, shape.projections, shape.alpha
    )
  }

  /// Copies its numbers. Throws `.mismatch`.
  func load(into adapter: TrainableAdapter?, _ head: TrainableHead?) throws(IVGError) {
    if let mine = adapter, let theirs = self.adapter { try mine.load(theirs) }
    if let head, let theirs = self.head { try head.load(theirs) }
  }
}

extension TrainableAdapter.Shape {
  /// The shape of an adapter file.
  ///
  /// Throws `.unsupported` unless all layers and projections are adapted alike.
  init(of adapter: Adapter) throws(IVGError) {
    var first: Adapter.Delta?
    var projections: Set<Projection> = []
    for projection in Projection.allCases {
      guard let delta = adapter.delta(layer: 0, projection) else { continue }
      first = first ?? delta
      projections.insert(projection)
    }
    guard let first else {
      throw IVGError(
        .unsupported,
        "\(adapter.path): the first layer is not adapted; training cannot go on with it")
    }
    self.init(
      projections: projections, rank: first.a.outputs,
      alpha: first.scale * Float(first.a.outputs))
  }
}
