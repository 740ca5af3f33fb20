import CIVGKernels
import Tensor
import Transformer

/// Forward and backward through a frozen trunk with a trainable adapter, for a packed batch, in single
/// precision over weights as the file has them.
///
/// Use: `forward` a batch, naming the rows whose final hidden state is wanted; read `finals`; fill
/// `directions` with the derivative of the loss by each of them (or let `logProbabilities` do it); then
/// `backward` adds the adapter's gradients to its parameter vector.
///
/// A layer's activations are kept until its backward pass, or computed again from its input: the bits are
/// the same (Chen et al. 2016, "Training deep nets with sublinear memory cost"). Every sum runs in one order,
/// whatever the number of threads.
///
/// Threads: one call at a time.
package final class TrainingPass: ParallelProgram {
  let trunk: Trunk
  let configuration: ModelConfiguration
  let adapter: TrainableAdapter?
  let kernels = Kernels.current
  let buffers: PassBuffers
  package let plan: PassPlan
  let results: AlignedBuffer<Double>  // [wanted]
  private let team: ThreadTeam

  /// What the workers do in a run.
  enum Phase { case forward, backward, logProbabilities }
  private var phase = Phase.forward
  private(set) var batch = PackedBatch()
  /// The rows of `finals`: rows of the batch.
  private(set) var wanted: [Int] = []
  /// Of each wanted row, the token whose log-probability is computed.
  private(set) var targets: [Int32] = []
  private(set) var usesAdapter = false
  private(set) var dropoutRate: Float = 0
  private(set) var derives = false
  var cancel: CancelFlag?
  var isStopped = false

  /// Throws `.outOfMemory`; `.unsupported` for an architecture without a backward pass.
  package init(plan: PassPlan, team: ThreadTeam, adapter: TrainableAdapter?) throws(IVGError) {
    if let obstacle = Self.obstacle(plan.trunk) {
      throw IVGError(
        .unsupported,
        "\(plan.trunk.path): training this model is not known: it has \(obstacle)")
    }
    self.plan = plan
    self.team = team
    self.adapter = adapter
    trunk = plan.trunk
    configuration = plan.trunk.configuration
    buffers = try PassBuffers(plan)
    results = try AlignedBuffer(count: plan.wanted)
  }

  /// What the model's layers have that the backward pass has not; nil if nothing.
  private static func obstacle(_ trunk: Trunk) -> String? {
    let c = trunk.configuration
    let a = c.architecture
    if a.normalization != .rootMeanSquare { return "layer norms" }
    if !a.normalizesInput || a.normalizesOutput { return "norms behind its sublayers" }
    if a.headNormalization != .none { return "normalised heads" }
    if c.activation != .silu || !a.isGated { return "a feed-forward layer other than SwiGLU" }
    if c.expertCount > 0 { return "experts" }
    if a.hasPositionEmbedding || a.rotation == .none { return "learned positions" }
    if a.scalesEmbedding { return "scaled embeddings" }
    if !c.attention.isPlain(headSize: c.headSize) { return "bounded or sliding attention" }
    if trunk.isLong(.max) { return "LongRoPE" }
    if c.outputCap > 0 { return "bounded logits" }
    if trunk.layers.contains(where: \.isFused) { return "projections in one tensor" }
    return nil
  }

  /// Final hidden states, after the last norm, of the wanted rows: [wanted, hidden].
  package var finals: UnsafePointer<Float> { UnsafePointer(buffers.finals) }
  /// Derivatives of the loss by `finals`: [wanted, hidden].
  package var directions: UnsafeMutablePointer<Float> { buffers.directions }

  /// Computes the batch. `dropout`: the rate on the inputs of low-rank products.
  ///
  /// Throws `.cancelled`.
  package func forward(
    _ batch: PackedBatch, wanted: [Int], usesAdapter: Bool = true, dropout: Float = 0,
    cancel: CancelFlag
  ) throws(IVGError) {
    precondition(
      batch.count <= plan.rows && wanted.count <= plan.wanted
        && batch.sequences.allSatisfy { $0.count <= plan.longest }, "a batch beyond the plan")
    precondition(
      batch.tokens.allSatisfy { $0 >= 0 && Int($0) < trunk.embedding.outputs }
        && wanted.allSatisfy { $0 < batch.count }, "a token or a row outside")
    self.batch = batch
    self.wanted = wanted
    self.usesAdapter = usesAdapter && adapter != nil
    dropoutRate = plan.hasDropout ? dropout : 0
    try run(.forward, cancel)
  }

  /// log p of one target for each wanted row; if `derives`, also their derivatives by the final hidden
  /// states, into `directions`.
  ///
  /// Throws `.cancelled`.
  package func logProbabilities(of targets: [Int32], derives: Bool, cancel: CancelFlag)
    throws(IVGError) -> [Double]
  {
    precondition(targets.count == wanted.count && plan.hasLogits, "a target for each wanted row")
    precondition(
      targets.allSatisfy { $0 >= 0 && Int($0) < trunk.outputSize }, "a token outside")
    self.targets = targets
    self.derives = derives
    try run(.logProbabilities, cancel)
    return Array(UnsafeBufferPointer(start: results.pointer, count: targets.count))
  }

  /// Adds to the adapter's gradients the derivatives by its numbers, given `directions`.
  ///
  /// Throws `.cancelled`; gradients are then of no use.
  package func backward(cancel: CancelFlag) throws(IVGError) {
    precondition(usesAdapter, "a backward pass needs an adapter")
    try run(.backward, cancel)
  }

  private func run(_ phase: Phase, _ cancel: CancelFlag) throws(IVGError) {
    self.phase = phase
    self.cancel = cancel
    isStopped = false
    team.run(self)
    // A product that saw the flag has ended early, even if nobody looked at the flag after it.
    if isStopped || cancel.isRaised { throw IVGError(.cancelled, "cancelled") }
  }

  package func run(_ worker: Worker) {
    switch phase {
    case .forward: runForward(worker)
    case .backward: runBackward(worker)
    case .logProbabilities: runLogProbabilities(worker)
    }
  }

  // MARK: Parts

  var rows: Int { batch.count }

  /// The residual stream before layer `layer`: [rows, hidden].
  func input(_ layer: Int) -> UnsafeMutablePointer<Float> {
    buffers.inputs + layer * plan.rows * configuration.hiddenSize
  }

  func product(_ layer: Int, _ projection: Projection) -> FrozenProduct {
    FrozenProduct(
      matrix: trunk.layers[layer].projections[projection.rawValue]!, kernels: kernels,
      cancel: cancel!)
  }

  func delta(_ layer: Int, _ projection: Projection) -> LowRank? {
    usesAdapter ? adapter!.delta(layer: layer, projection) : nil
  }

  /// scale · A x of one projection: [rows, rank].
  func narrow(_ activations: LayerActivations, _ projection: Projection)
    -> UnsafeMutablePointer<Float>
  {
    activations.narrow + projection.rawValue * plan.rows * plan.rank
  }

  /// out [rows, hidden] = norm(x), this worker's rows.
  func normalize(
    _ x: UnsafePointer<Float>, _ norm: NormWeights?,
    into out: UnsafeMutablePointer<Float>, _ worker: Worker
  ) {
    let size = configuration.hiddenSize
    for row in worker.share(of: rows) {
      kernels.table.pointee.rms_norm(
        x + row * size, norm?.weight, size, configuration.epsilon, out + row * size)
    }
  }

  /// Raises `isStopped` if the run is to end; to be called by all workers, and looked at after a barrier.
  func lookAtCancel(_ worker: Worker) {
    if worker.index == 0, cancel!.isRaised { isStopped = true }
  }
}
