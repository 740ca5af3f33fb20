import Tensor
import Transformer

/// A request under way, as a session drives it and a host reads it: the search machine, or nudging.
///
/// Threads: one call at a time.
package protocol Generation: AnyObject {
  /// The next piece of the text; nil when it has ended.
  ///
  /// Throws `.cancelled`, after which it may be called again; any other error ends the request and is
  /// thrown again by every further call.
  func next() throws(IVGError) -> Step?

  /// The new text of the last step, with a NUL behind it that does not count.
  var text: [UInt8] { get }
  /// The most probable tokens of the last step of a single row, as the request asked.
  var alternatives:
    (count: Int, tokens: UnsafePointer<Int32>, logProbabilities: UnsafePointer<Float>)
  { get }

  /// Kept rows.
  var candidateCount: Int { get }
  /// Kept row `index`, best first; nil past the end.
  func candidate(_ index: Int) -> Candidate?
  /// How the best row ended.
  var finish: FinishReason { get }
  /// The guidance's implicit and explicit values.
  var partCount: Int { get }
  /// The base's prompt in its own tokens, and how many of them an earlier request had computed.
  var promptTokens: [Int32] { get }
  var reusedCount: Int { get }
  /// What a nudger wrote of the text; nil without one.
  var nudges: Nudges? { get }
  /// Tokens drawn over all rows.
  var drawnCount: Int { get }
  /// Seconds until the first token, and after it.
  var times: (prompt: Double, generate: Double) { get }

  /// To be called before another user of an engine runs it: the logits in hand are about to go.
  func forgetLogits(of engine: Engine)
  /// Takes what earlier requests computed of the prompts.
  func reusePrefixes(_ prefixes: PrefixCache)
  /// Keeps what this request computed for the next one that begins alike.
  func keepPrefixes(in prefixes: inout PrefixCache)
}
