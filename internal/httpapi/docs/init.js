// Shows the contract. Everything that would talk to other sites is off: the page works offline, and a
// key that somebody types in goes to this server only. The Content-Security-Policy holds it to that.

/**
 * Leaves the optional parameters empty in the try-it client and moves their examples into the text. It
 * would send all examples at once, which makes no sensible request (cursor and offset, somebody's account).
 */
function clear(parameter) {
  if (parameter.required || parameter.$ref) return;
  const examples = Object.values(parameter.examples ?? {}).map(({ value }) => value);
  if ('example' in parameter) examples.push(parameter.example);
  if (examples.length > 0) parameter.description += ` Example: ${examples.map((value) => `\`${value}\``).join(' or ')}.`;
  parameter.example = ''; // an empty example is not sent; without any, the schema's would be
  delete parameter.examples;
}

function prepare(spec) {
  Object.values(spec.components.parameters).forEach(clear);
  for (const path of Object.values(spec.paths)) {
    for (const part of [path, ...Object.values(path)]) part.parameters?.forEach(clear);
  }
  spec.info.description += '\nThis document for programs: [openapi.yaml](/openapi.yaml), [openapi.json](/openapi.json).\n';
  return spec;
}

async function show() {
  const response = await fetch('/openapi.json');
  Scalar.createApiReference('#docs', {
    content: prepare(await response.json()),
    servers: [{ url: location.origin }],
    proxyUrl: '', // undefined would mean Scalar's own proxy, and keys would travel through it
    withDefaultFonts: false,
    telemetry: false,
    agent: { disabled: true },
    mcp: { disabled: true },
    hideClientButton: true,
    showDeveloperTools: 'never',
    documentDownloadType: 'none',
    // The emptied examples would still have their labels.
    customCss: '.property-heading:has([id*=".query."], [id*=".header."]) .property-example { display: none }',
    persistAuth: false, // a key must not stay in the browser's storage
    authentication: { preferredSecurityScheme: 'bearerAuth' },
    defaultHttpClient: { targetKey: 'shell', clientKey: 'curl' },
    orderSchemaPropertiesBy: 'preserve',
    orderRequiredPropertiesFirst: false,
    localization: { locale: navigator.language.startsWith('pt') ? 'pt' : 'en' },
  });
}

show();
