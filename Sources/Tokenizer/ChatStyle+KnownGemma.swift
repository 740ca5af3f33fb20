/// Google's Gemma 1 to 3.
extension ChatStyle {
  /// Gemma 1 and 2: no system message at the beginning.
  static let gemma = gemma("Gemma", [gemma2Source], opening: "\u{1}", .refused)

  /// Gemma 1 as it was first published: without BOS.
  static let gemmaFirst = gemma("Gemma", [gemmaSource], opening: "", .refused)

  /// Gemma 3: the system message in the user's first turn.
  static let gemma3 = gemma(
    "Gemma 3", [gemma3Source], opening: "\u{1}",
    .intoFirst(before: "", after: "\n\n", isTrimmed: false))

  private static func gemma(
    _ name: String, _ sources: [String], opening: String, _ system: ChatSystem
  ) -> ChatStyle {
    ChatStyle(
      name: name, sources: sources, opening: opening, user: gemmaTurn("user"),
      assistant: gemmaTurn("model"), firstSystem: system, laterSystem: .turn(gemmaTurn("system")),
      generation: gemmaTurn("model").before, alternates: true)
  }

  private static func gemmaTurn(_ role: String) -> ChatTurn {
    ChatTurn(before: "<start_of_turn>\(role)\n", end: "<end_of_turn>", after: "\n", trims: true)
  }

  /// gemma-7b-it, first
  private static let gemmaSource = #"""
    {% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}
    """#

  /// gemma-2b-it, gemma-2-2b-it
  private static let gemma2Source = #"""
    {{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '
    ' + message['content'] | trim + '<end_of_turn>
    ' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model
    '}}{% endif %}
    """#

  /// gemma-3-1b-it
  private static let gemma3Source = #"""
    {{ bos_token }}
    {%- if messages[0]['role'] == 'system' -%}
        {%- if messages[0]['content'] is string -%}
            {%- set first_user_prefix = messages[0]['content'] + '

    ' -%}
        {%- else -%}
            {%- set first_user_prefix = messages[0]['content'][0]['text'] + '

    ' -%}
        {%- endif -%}
        {%- set loop_messages = messages[1:] -%}
    {%- else -%}
        {%- set first_user_prefix = "" -%}
        {%- set loop_messages = messages -%}
    {%- endif -%}
    {%- for message in loop_messages -%}
        {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
            {{ raise_exception("Conversation roles must alternate user/assistant/user/assistant/...") }}
        {%- endif -%}
        {%- if (message['role'] == 'assistant') -%}
            {%- set role = "model" -%}
        {%- else -%}
            {%- set role = message['role'] -%}
        {%- endif -%}
        {{ '<start_of_turn>' + role + '
    ' + (first_user_prefix if loop.first else "") }}
        {%- if message['content'] is string -%}
            {{ message['content'] | trim }}
        {%- elif message['content'] is iterable -%}
            {%- for item in message['content'] -%}
                {%- if item['type'] == 'image' -%}
                    {{ '<start_of_image>' }}
                {%- elif item['type'] == 'text' -%}
                    {{ item['text'] | trim }}
                {%- endif -%}
            {%- endfor -%}
        {%- else -%}
            {{ raise_exception("Invalid content type") }}
        {%- endif -%}
        {{ '<end_of_turn>
    ' }}
    {%- endfor -%}
    {%- if add_generation_prompt -%}
        {{'<start_of_turn>model
    '}}
    {%- endif -%}
    """#
}
