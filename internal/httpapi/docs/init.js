// Shows the contract. Everything that would talk to other sites is off: the page works offline, and a
// key that somebody types in goes to this server only. The Content-Security-Policy holds it to that.

/**
 * Unticks the optional parameters in the try-it client. It would fill in and send all their examples at
 * once, and those do not make one sensible request (cursor and offset, somebody's account).
 */
function untick(parameter) {
  if (parameter.required || parameter.$ref) return;
  const examples = parameter.examples ?? { default: { value: parameter.example } };
  for (const example of Object.values(examples)) example['x-disabled'] = true;
  parameter.examples = examples;
  delete parameter.example;
}

function prepare(spec) {
  Object.values(spec.components.parameters).forEach(untick);
  for (const path of Object.values(spec.paths)) {
    for (const part of [path, ...Object.values(path)]) part.parameters?.forEach(untick);
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
    persistAuth: false, // a key must not stay in the browser's storage
    authentication: { preferredSecurityScheme: 'bearerAuth' },
    defaultHttpClient: { targetKey: 'shell', clientKey: 'curl' },
    orderSchemaPropertiesBy: 'preserve',
    orderRequiredPropertiesFirst: false,
    localization: { locale: navigator.language.startsWith('pt') ? 'pt' : 'en' },
  });
}

show();
