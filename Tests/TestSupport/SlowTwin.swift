import GGUF
import Glibc
import Tensor

/// The forward pass once more, one statement per definition, in double precision; with the engine's
/// two roundings or without: keys and values as half floats, and inputs of quantised weights as int8.
package final class SlowTwin {
  package let file: GGUFFile
  package let halfCache: Bool
  package let roundedInputs: Bool
  /// Low-rank deltas by tensor stem (`blk.0.attn_q`), for those who vary them: scale · B (A x).
  package var deltas: [String: (a: [[Double]], b: [[Double]], scale: Double)] = [:]
  private let adapter: GGUFFile?
  private let name: String
  private var matrices: [String: [[Double]]] = [:]

  package init(_ fixture: String, adapter: String? = nil, halfCache: Bool, roundedInputs: Bool)
    throws
  {
    self.adapter = try adapter.map { try GGUFFile(path: Fixtures.path($0)) }
    file = try GGUFFile(path: Fixtures.path(fixture))
    name = try file.metadata.string("general.architecture")!
    self.halfCache = halfCache
    self.roundedInputs = roundedInputs
  }

  /// The logits after each token.
  package func logits(_ tokens: [Int32]) throws -> [[Float]] {
    try finals(tokens).map { logits(of: $0).map { Float($0) } }
  }

  /// The logits of a final hidden state.
  package func logits(of final: [Double]) -> [Double] {
    apply(file.tensor("output.weight") == nil ? "token_embd" : "output", final)
  }

  /// log p(token) after a final hidden state.
  package func logProbability(of token: Int32, after final: [Double]) -> Double {
    let logits = logits(of: final)
    let most = logits.max()!
    return logits[Int(token)] - most - log(logits.reduce(0) { $0 + exp($1 - most) })
  }

  /// The final hidden state of each token, after the last norm.
  package func finals(_ tokens: [Int32]) throws -> [[Double]] {
    let metadata = file.metadata
    let heads = try metadata.int("\(name).attention.head_count", in: 1...64)!
    let groups = try metadata.int("\(name).attention.head_count_kv", in: 1...64)!
    let base = try metadata.float("\(name).rope.freq_base") ?? 10_000
    let epsilon = try metadata.float("\(name).attention.layer_norm_rms_epsilon")!
    let layers = try metadata.int("\(name).block_count", in: 1...64)!
    let embedding = matrix("token_embd.weight")
    let size = embedding[0].count / heads
    var states = tokens.map { embedding[Int($0)] }
    func norm(_ x: [Double], _ weight: String) -> [Double] {
      let mean = x.reduce(0) { $0 + $1 * $1 } / Double(x.count)
      return zip(x, matrix(weight)[0]).map { $0 / (mean + epsilon).squareRoot() * $1 }
    }
    func rotate(_ x: [Double], _ position: Int) -> [Double] {
      var out = x
      for head in 0..<x.count / size {
        for pair in 0..<size / 2 {
          let angle = Double(position) * pow(base, -Double(2 * pair) / Double(size))
          let a = head * size + (name == "llama" ? 2 * pair : pair)
          let b = a + (name == "llama" ? 1 : size / 2)
          out[a] = x[a] * cos(angle) - x[b] * sin(angle)
          out[b] = x[a] * sin(angle) + x[b] * cos(angle)
        }
      }
      return out
    }
    func stored(_ x: [Double]) -> [Double] { halfCache ? x.map { Double(Float16(Float($0))) } : x }
    for layer in 0..<layers {
      let stem = "blk.\(layer)."
      let inputs = states.map { norm($0, stem + "attn_norm.weight") }
      let keys = inputs.enumerated().map { stored(rotate(apply(stem + "attn_k", $1), $0)) }
      let values = inputs.map { stored(apply(stem + "attn_v", $0)) }
      for position in states.indices {
        let query = rotate(apply(stem + "attn_q", inputs[position]), position)
        let mixed = (0..<heads).flatMap { head in
          let own = head * size..<(head + 1) * size
          let shared = head / (heads / groups) * size..<(head / (heads / groups) + 1) * size
          return ReferenceKernels.attend(
            query: Array(query[own]), keys: keys[0...position].map { Array($0[shared]) },
            values: values[0...position].map { Array($0[shared]) },
            scale: 1 / Double(size).squareRoot(), softcap: 0)
        }
        states[position] = add(states[position], apply(stem + "attn_output", mixed))
        let x = norm(states[position], stem + "ffn_norm.weight")
        let gated = zip(apply(stem + "ffn_gate", x), apply(stem + "ffn_up", x)).map {
          $0 / (1 + exp(-$0)) * $1
        }
        states[position] = add(states[position], apply(stem + "ffn_down", gated))
      }
    }
    return states.map { norm($0, "output_norm.weight") }
  }

  private func add(_ a: [Double], _ b: [Double]) -> [Double] { zip(a, b).map { $0 + $1 } }

  /// W x + bias + alpha / rank · B (A x).
  private func apply(_ stem: String, _ x: [Double]) -> [Double] {
    let isRounded = roundedInputs && file.tensor(stem + ".weight")!.type.isQuantized
    let input = isRounded ? ReferenceKernels.rounded(x) : x
    var product = multiply(matrix(stem + ".weight"), input)
    if file.tensor(stem + ".bias") != nil { product = add(product, matrix(stem + ".bias")[0]) }
    if let adapter, adapter.tensor(stem + ".weight.lora_a") != nil {
      let a = matrix(stem + ".weight.lora_a")
      let b = matrix(stem + ".weight.lora_b")
      let scale = try! adapter.metadata.float("adapter.lora.alpha")! / Double(a.count)
      product = add(product, multiply(b, multiply(a, x)).map { $0 * scale })
    }
    if let delta = deltas[stem] {
      product = add(product, multiply(delta.b, multiply(delta.a, x)).map { $0 * delta.scale })
    }
    return product
  }

  private func multiply(_ matrix: [[Double]], _ x: [Double]) -> [Double] {
    matrix.map { ReferenceKernels.dot($0, x).sum }
  }

  /// All rows of a tensor, decoded.
  package func matrix(_ name: String) -> [[Double]] {
    if let known = matrices[name] { return known }
    let source = file.tensor(name) == nil ? adapter! : file
    let tensor = source.tensor(name)!
    let bytes = Array(source.data(tensor))
    let width = bytes.count / tensor.rows
    let rows = (0..<tensor.rows).map {
      ReferenceKernels.decode(
        tensor.type, bytes[$0 * width..<($0 + 1) * width], columns: tensor.columns)
    }
    matrices[name] = rows
    return rows
  }
}
